"""Proofs by acme-dns: its API by a server of ours, its zone at a real name server, a real authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.name
import dns.query
import dns.tsig
import dns.update
import pytest
import trio

from certstore import Answer, AnswersUngiven, Challenge
from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount
from certstore.issuers.acme.nameserver import TsigKey
from certstore.issuers.acme.wishes import Server
from tests.authorities import acmedns as servers
from tests.authorities.knot import Knot
from tests.live.proxy_process import tlsproxy
from tests.live.test_acme import DEADLINE_S, acme, directory, scene, shown
from tests.live.test_acme_dns import values
from tests.pki import Pki, to_pem
from tlsproxy.acmednsrecords import AcmeDnsRecords

PLACE = (
    "_acme-challenge.device.test"  # an alias leads there from device.elsewhere (tests/authorities/knot.py)
)


def puts_into(knot: Knot) -> servers.Show:
    key = TsigKey.read(knot.key_file.read_text())
    called = dns.name.from_text(key.name)
    keyring = {called: dns.tsig.Key(called, key.secret)}

    def show(name: str, kept: list[str]) -> None:
        update = dns.update.UpdateMessage("test.", keyring=keyring, keyname=called)
        update.delete(f"{name}.", "TXT")
        for value in kept:
            update.add(f"{name}.", 60, "TXT", value)
        dns.query.tcp(update, "127.0.0.1", port=knot.port, timeout=10)

    return show


def trusting(pki: Pki, words: list[str], roots: Path) -> list[str]:
    """Have both servers' authorities trusted: those of the option --ca-file, and ours."""
    at = words.index("--ca-file") + 1
    roots.write_bytes(Path(words[at]).read_bytes() + to_pem(pki.root))
    return [*words[:at], str(roots), *words[at + 1 :]]


def records_of(account: AcmeDnsAccount, ca_pem: bytes = b"") -> AcmeDnsRecords:
    return AcmeDnsRecords(account, Server(account.url, ca_pem))


def answer() -> Answer:
    expires = datetime.now(UTC) + timedelta(minutes=5)
    return Answer(Challenge.DNS_01, "device.test", "token", "token.thumb", expires)


async def test_a_certificate_for_a_name_and_its_wildcard_comes_and_is_renewed(
    tmp_path, pki, knot, asked
) -> None:
    names = ("--name", "device.test", "--name", "*.device.test")
    with trio.fail_after(DEADLINE_S), servers.running(tmp_path, pki, puts_into(knot)) as server:
        account = tmp_path / "account.json"
        account.write_text(server.register("_acme-challenge.device", PLACE))
        words = ("--challenge", "dns-01", "--acme-dns", server.url, "--acme-dns-file", str(account), *names)
        roots = tmp_path / "roots.pem"
        async with scene(tmp_path, asked) as (proxy, _):
            where = trusting(pki, list(directory(asked, tmp_path)), roots)
            first = await acme(proxy, "enable", *where, *words)
            assert (first["acme_dns"], first["dns_hook"], first["name_server"]) == (PLACE, False, None)
            assert await shown(proxy.port) == first["sha256"]
            second = await acme(proxy, "renew")
            assert await shown(proxy.port) == second["sha256"] != first["sha256"]
            assert 2 < len(server.asked) <= 4  # see PEBBLE_AUTHZREUSE
            assert await values(knot, PLACE) == {one["txt"] for one in server.asked[-2:]}
            (known,) = server.accounts.values()
            told = await tlsproxy("acme", "status", "--store", str(proxy.store), "--json")
            log = "\n".join(map(str, proxy.log))
            assert known["password"] not in told.stdout.decode() + log
            more = ("--name", "third.test")
            refused = await tlsproxy("acme", "enable", *where, *words, *more, "--store", str(proxy.store))
            assert refused.returncode == 1
            assert b"2 records at a time" in refused.stderr


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "answers 401 forbidden"),
        ((500, b"{not json"), "answers 500"),
        ((200, b'{"txt": "another"}'), "answers 200"),
        ((403, b'{"error": "no \\u001b[2J way"}'), r"answers 403 no \[2J way"),
        ((200, b'{"txt": "' + b"x" * 100_000), "answers 200"),
        ((302, b""), "answers 302"),
    ],
)
async def test_what_it_refuses_is_told_without_its_secret(tmp_path, pki, script, why) -> None:
    with servers.running(tmp_path, pki) as server:
        account = AcmeDnsAccount.registered(server.url, server.register("sub", "sub.acme-dns.test"))
        server.accounts.clear()
        server.script = script
        with trio.fail_after(30), pytest.raises(AnswersUngiven, match=why) as refused:
            await records_of(account, to_pem(pki.root)).publish([answer()])
        assert account.password not in str(refused.value) + repr(account)
        assert "\x1b" not in str(refused.value)


async def test_one_that_is_not_there_or_that_nobody_trusts_is_told(tmp_path, pki) -> None:
    with servers.running(tmp_path, pki) as server:
        account = AcmeDnsAccount.registered(server.url, server.register("sub", "sub.acme-dns.test"))
        with (
            trio.fail_after(30),
            pytest.raises(AnswersUngiven, match="verify failed"),
        ):
            await records_of(account).publish([answer()])
        assert not server.asked
    with trio.fail_after(30), pytest.raises(AnswersUngiven, match=r"refused|reset|failed"):
        await records_of(account, to_pem(pki.root)).publish([answer()])
