"""Proofs by DNS records: a real name server that takes signed updates, and an authority that asks it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import partial

import dns.asyncquery
import dns.asyncresolver
import dns.message
import dns.name
import dns.rdatatype
import dns.tsig
import dns.update
import pytest
import trio

from certstore import Answer, AnswersUngiven, Challenge
from certstore.issuers.acme.nameserver import NameServer, TsigKey
from tests.authorities import knot as knots
from tests.authorities import pebble as pebbles
from tests.authorities.knot import Knot
from tests.live.proxy_process import tlsproxy
from tests.live.test_acme import DEADLINE_S, acme, directory, scene, shown
from tlsproxy.acmedns import DnsUpdates
from tlsproxy.acmestanding import StandingRecords


def answer(name: str, token: str = "token") -> Answer:
    expires = datetime.now(UTC) + timedelta(minutes=5)
    return Answer(Challenge.DNS_01, name, token, f"{token}.thumb", expires)


def updates(knot: Knot, **other) -> DnsUpdates:
    key = TsigKey.read(knot.key_file.read_text())
    return DnsUpdates(NameServer(**{"address": "127.0.0.1", "key": key, "port": knot.port, **other}))


def resolver_at(port: int) -> dns.asyncresolver.Resolver:
    made = dns.asyncresolver.Resolver(configure=False)
    made.nameservers, made.port = ["127.0.0.1"], port
    return made


async def values(knot: Knot, name: str) -> set[str]:
    question = dns.message.make_query(name, dns.rdatatype.TXT)
    reply = await dns.asyncquery.tcp(question, "127.0.0.1", timeout=10, port=knot.port)
    return {one.strings[0].decode() for found in reply.answer for one in found}


async def test_records_come_beside_others_and_only_they_go(knot) -> None:
    first, second = answer("device.test", "one"), answer("device.test", "two")
    there = updates(knot)
    await there.publish([first])
    await updates(knot, zone="test").publish([second])
    assert await values(knot, "_acme-challenge.device.test") == {first.txt, second.txt}
    await there.withdraw([first])
    assert await values(knot, "_acme-challenge.device.test") == {second.txt}
    await there.withdraw([second, second])
    assert await values(knot, "_acme-challenge.device.test") == set()


async def test_an_alias_leads_into_the_zone_that_the_device_may_change(knot) -> None:
    one = answer("device.elsewhere")
    await updates(knot).publish([one])
    assert await values(knot, "_acme-challenge.device.test") == {one.txt}


async def test_an_alias_of_somebody_elses_zone_is_found_as_anybody_finds_it(knot, tmp_path_factory) -> None:
    with knots.running(tmp_path_factory.mktemp("vendor"), zones=("test",)) as vendor:
        one = answer("device.elsewhere")
        key = TsigKey.read(vendor.key_file.read_text())
        server = NameServer("127.0.0.1", key, vendor.port)
        await DnsUpdates(server, partial(resolver_at, knot.port)).publish([one])
        assert await values(vendor, "_acme-challenge.device.test") == {one.txt}


@pytest.mark.parametrize(
    ("name", "other", "why"),
    [
        ("loop.elsewhere", {}, "no end"),
        ("device.test", {"zone": "elsewhere"}, "isn't in the zone"),
        ("other.elsewhere", {}, "didn't know the key"),
        ("device.nowhere", {}, "no zone"),
        ("device.test", {"key": TsigKey("device.", "hmac-sha256", b"w" * 32)}, "the signature"),
        ("device.test", {"key": TsigKey("nobody.", "hmac-sha256", b"w" * 32)}, "didn't know the key"),
        ("device.test", {"port": 9}, "127.0.0.1"),
        ("device.test", {"address": "nobody.invalid"}, "nobody.invalid"),
    ],
)
async def test_what_the_name_server_refuses_is_told(knot, name, other, why) -> None:
    with pytest.raises(AnswersUngiven, match=why) as refused:
        await updates(knot, **other).publish([answer(name)])
    secret = TsigKey.read(knot.key_file.read_text()).secret
    assert base64.b64encode(secret).decode() not in str(refused.value)
    assert await values(knot, "_acme-challenge.device.test") == set()


async def test_a_record_that_a_person_sets_is_waited_for_and_told(knot) -> None:
    async def set_record(*values: str) -> None:
        name = dns.name.from_text("device.")
        key = TsigKey.read(knot.key_file.read_text())
        update = dns.update.UpdateMessage(
            "test.", keyring={name: dns.tsig.Key(name, key.secret)}, keyname=name
        )
        update.delete("_validation-persist.device", "TXT")
        for value in values:
            update.add("_validation-persist.device", 60, "TXT", f'"{value}"')
        await dns.asyncquery.tcp(update, "127.0.0.1", timeout=10, port=knot.port)

    wanted = "authority.test; accounturi=https://authority.test/acct/1"
    standing = StandingRecords(partial(resolver_at, knot.port))
    expires = datetime.now(UTC) + timedelta(minutes=5)
    one = Answer(Challenge.DNS_PERSIST_01, "device.test", "", wanted, expires)
    wild = Answer(Challenge.DNS_PERSIST_01, "device.test", "", f"{wanted}; policy=wildcard", expires)
    for values in ((), ("other.test; accounturi=https://authority.test/acct/1",), (wanted + "2",)):
        await set_record(*values)
        with pytest.raises(AnswersUngiven) as refused:
            await standing.publish([one])
        assert f'set it, once: _validation-persist.device.test. TXT "{wanted}"' in str(refused.value)
    await set_record(
        "something else", "AUTHORITY.test;accounturi=https://authority.test/acct/1; persistUntil=9"
    )
    await standing.publish([one])
    with pytest.raises(AnswersUngiven, match=r"policy=wildcard"):
        await standing.publish([one, wild])
    await set_record(f"{wanted}; policy=wildcard")
    await standing.publish([one, wild])

    await StandingRecords(partial(resolver_at, 9)).publish(
        [one]
    )  # nothing is to be seen from here: the authority looks itself


async def test_a_wildcard_comes_and_is_renewed_and_leaves_no_record_and_no_secret(
    tmp_path, knot, asked
) -> None:
    secret = base64.b64encode(TsigKey.read(knot.key_file.read_text()).secret)
    words = ["--challenge", "dns-01", "--dns-server", "127.0.0.1", "--dns-port", str(knot.port)]
    words += ["--dns-key-file", str(knot.key_file), "--name", "*.device.test", "--name", "device.test"]
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, asked) as (proxy, _):
            first = await acme(proxy, "enable", *directory(asked, tmp_path), *words)
            assert first["names"] == ["*.device.test", "device.test"]
            assert first["name_server"] == "127.0.0.1"
            assert await shown(proxy.port) == first["sha256"]
            second = await acme(proxy, "renew")
            assert await shown(proxy.port) == second["sha256"] != first["sha256"]
            assert await values(knot, "_acme-challenge.device.test") == set()
            done = await tlsproxy("acme", "status", "--store", str(proxy.store))
            assert secret not in done.stdout
            assert secret not in proxy.written
            for path in proxy.store.rglob("*"):
                if path.is_file() and secret in path.read_bytes():
                    assert path.name == "enrolment.json"
                    assert path.stat().st_mode & 0o077 == 0
            done = await tlsproxy("reset", "--yes", "--scope", "customer", "--store", str(proxy.store))
            assert done.returncode == 0, done.stderr
            kept = [path for path in proxy.store.rglob("*") if path.is_file()]
            assert not any(secret in path.read_bytes() for path in kept)


async def test_what_cannot_be_proved_that_way_is_refused_at_once(
    tmp_path, tmp_path_factory, pki, knot
) -> None:
    by_dns = ["--challenge", "dns-01", "--dns-server", "127.0.0.1", "--dns-key-file", str(knot.key_file)]
    (tmp_path / "none.key").write_text("nothing")
    with trio.fail_after(DEADLINE_S), pebbles.running(tmp_path_factory.mktemp("pebble"), pki) as pebble:
        async with scene(tmp_path, pebble) as (proxy, _):
            for words, why in (
                (["--name", "*.device.test"], b"can't be proved by http-01"),
                ([*by_dns, "--ip", "127.0.0.1"], b"can't be proved by dns-01"),
                (["--challenge", "dns-01", "--name", "device.test"], b"nobody sets records"),
                ([*by_dns[:-1], str(tmp_path / "none.key"), "--name", "device.test"], b"no TSIG key"),
            ):
                asked = (*directory(pebble, tmp_path), *words, "--store", str(proxy.store))
                done = await tlsproxy("acme", "enable", *asked)
                assert done.returncode == 1
                assert why in done.stderr, done.stderr
