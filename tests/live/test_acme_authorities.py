"""What a person asks ACME authorities beside certificates, and another authority where the first fails."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from cryptography import x509

from certstore import spki_of
from tests.authorities import pebble as pebbles
from tests.live.proxy_process import Proxy, tlsproxy
from tests.live.test_acme import DEADLINE_S, acme, directory, pebble, scene, shown

__all__ = ["pebble"]  # a fixture


async def leaf_of(proxy: Proxy, sha256: object) -> x509.Certificate:
    done = await tlsproxy("certs", "export", str(sha256)[:16], "--store", str(proxy.store))
    assert done.returncode == 0, done.stderr
    return x509.load_pem_x509_certificate(done.stdout)


def account_keys(store: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (store / "authority" / "accounts").glob("*/key.pem"))


async def test_a_revoked_certificate_is_followed_by_another(tmp_path, pebble) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            first = await acme(proxy, "enable", *directory(pebble, tmp_path), "--name", "device.test")
            leaf = await leaf_of(proxy, first["sha256"])
            asked = await tlsproxy("acme", "revoke", "--store", str(proxy.store))  # by no terminal
            assert (asked.returncode, b"hint: add --yes" in asked.stderr) == (2, True)
            await acme(proxy, "revoke", "--yes")
            status = await trio.to_thread.run_sync(pebble.status_of, leaf.serial_number)
            assert status == "Revoked"
            while (second := await acme(proxy, "status"))["sha256"] in {None, first["sha256"]}:  # noqa: ASYNC110
                await trio.sleep(0.2)
            assert await shown(proxy.port) == second["sha256"]
            kept = spki_of((await leaf_of(proxy, second["sha256"])).public_key())
            await acme(proxy, "revoke", "--reason", "key-compromise", "--yes")
            while (third := await acme(proxy, "status"))["sha256"] in {None, second["sha256"]}:
                assert await shown(proxy.port) != second["sha256"]
                await trio.sleep(0.2)
            assert spki_of((await leaf_of(proxy, third["sha256"])).public_key()) != kept
            ended = await acme(proxy, "revoke", "--reason", "cessation-of-operation", "--yes")
            assert ended["sha256"] == third["sha256"]
            assert await shown(proxy.port) != third["sha256"]
            done = await tlsproxy("acme", "status", "--store", str(proxy.store))
            assert b"there is no ACME enrolment" in done.stderr
        audit = [json.loads(x) for x in (proxy.store / "audit.jsonl").read_text().splitlines()]
        assert [one["reason"] for one in audit if one["what"] == "revoke_acme"] == [
            "superseded",
            "key-compromise",
            "cessation-of-operation",
        ]


async def test_the_account_gets_a_new_key_and_a_pinned_one_stays(tmp_path, pebble) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            words = (*directory(pebble, tmp_path), "--name", "device.test", "--keep-key")
            first = await acme(proxy, "enable", *words, "--key-type", "ec384")
            one = await leaf_of(proxy, first["sha256"])
            before = account_keys(proxy.store)
            assert (await acme(proxy, "roll-over"))["sha256"] == first["sha256"]
            after = account_keys(proxy.store)
            assert len(after) == 1
            assert after != before
            second = await acme(proxy, "renew")
            assert second["sha256"] != first["sha256"]
            other = await leaf_of(proxy, second["sha256"])
            assert spki_of(one.public_key()) == spki_of(other.public_key())


async def test_another_authority_is_asked_where_the_first_is_gone(tmp_path, tmp_path_factory, pki) -> None:
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    with trio.fail_after(DEADLINE_S), ExitStack() as second, ExitStack() as first:
        primary = first.enter_context(pebbles.running(folders[0], pki))
        other = second.enter_context(pebbles.running(folders[1], pki, beside=primary, binding=True))
        async with scene(tmp_path, primary) as (proxy, _):
            words = ["--fallback-directory", other.server.directory]
            words += ["--fallback-ca-file", str(tmp_path / "root.pem"), "--name", "device.test"]
            words += ["--fallback-eab-kid", "kid-1", "--fallback-eab-key-file", "-"]
            key = pebbles.MAC.encode()
            mine = await acme(proxy, "enable", *directory(primary, tmp_path), *words, stdin=key)
            assert mine["issued_by"] == primary.server.directory
            first.close()
            for number in range(1, 4):
                failed = await acme(proxy, "renew", code=1)
                assert failed["failures"] == number
                assert failed["sha256"] == mine["sha256"]
            theirs = await acme(proxy, "renew")
            assert theirs["issued_by"] == other.server.directory
            assert theirs["failures"] == 0
            assert await shown(proxy.port) == theirs["sha256"] != mine["sha256"]
            leaf = await leaf_of(proxy, theirs["sha256"])
            assert await trio.to_thread.run_sync(other.status_of, leaf.serial_number) == "Valid"


@pytest.mark.parametrize(
    "words",
    [("--fallback-ca-file", "{root}"), ("--fallback-directory", "{same}"), ("--eab-kid", "x")],
)
async def test_what_contradicts_itself_is_refused(tmp_path, pebble, words) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            asked = [*directory(pebble, tmp_path), "--name", "device.test"]
            root, same = str(tmp_path / "root.pem"), pebble.server.directory
            asked += [word.format(root=root, same=same) for word in words]
            done = await tlsproxy("acme", "enable", *asked, "--store", str(proxy.store))
            assert done.returncode in {1, 2}
            assert b"fallback" in done.stderr or b"belong together" in done.stderr
            assert not (proxy.store / "authority" / "accounts" / "enrolment.json").exists()
