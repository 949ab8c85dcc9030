"""An EC and an RSA certificate by one enrolment: each client is served the one that it can use."""

from __future__ import annotations

import json
import re
from typing import Any

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certstore import spki_of
from tests.live.https_client import Client
from tests.live.proxy_process import Proxy, tlsproxy
from tests.live.test_acme import DEADLINE_S, acme, directory, pebble, scene
from tests.live.test_acme_configured import come
from tests.live.test_acme_configured import scene as configured

__all__ = ["pebble"]  # a fixture
SIGNED = {"ec": "ecdsa_secp256r1_sha256", "rsa": "rsa_pss_rsae_sha256:rsa_pkcs1_sha256"}
KEYS = {"ec": ec.EllipticCurvePublicKey, "rsa": rsa.RSAPublicKey}
NAMES = ("--name", "device.test", "--name", "other.test")


async def seen(openssl: str, proxy: Proxy, kind: str, version: str) -> x509.Certificate:
    """Give what a client is shown that can verify signatures of this kind alone."""
    connect = ("-connect", f"127.0.0.1:{proxy.port}", "-servername", "device.test")
    command = [openssl, "s_client", *connect, version, "-sigalgs", SIGNED[kind]]
    done = await trio.run_process(command, stdin=b"", capture_stdout=True, capture_stderr=True)
    leaf = x509.load_pem_x509_certificate(done.stdout[done.stdout.index(b"-----BEGIN CERTIFICATE") :])
    assert isinstance(leaf.public_key(), KEYS[kind])
    return leaf


async def both(openssl: str, proxy: Proxy) -> list[x509.Certificate]:
    """Give what clients of either kind are shown, whichever version they speak."""
    found = list[x509.Certificate]()
    for kind in SIGNED:
        first, second = [await seen(openssl, proxy, kind, version) for version in ("-tls1_3", "-tls1_2")]
        assert first == second
        found.append(first)
    return found


def told(status: dict[str, Any]) -> list[str]:
    assert (status["key_type"], status["beside"], status["failures"]) == ("ec", "rsa2048", 0)
    return [status["sha256"], status["beside_sha256"]]


def prints(leaves: list[x509.Certificate]) -> list[str]:
    return [leaf.fingerprint(hashes.SHA256()).hex() for leaf in leaves]


def keys(leaves: list[x509.Certificate]) -> list[str]:
    return [spki_of(leaf.public_key()) for leaf in leaves]


async def followed(proxy: Proxy, before: list[str]) -> dict[str, Any]:
    """Wait until others have come."""
    while not {None, *before}.isdisjoint(told(status := await acme(proxy, "status"))):  # noqa: ASYNC110
        await trio.sleep(0.2)
    return status


async def test_clients_of_either_kind_are_served_before_and_after_a_renewal(tmp_path, pebble, tool) -> None:
    openssl = tool("openssl")
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _), Client.to(proxy.port) as stays:
            words = (*directory(pebble, tmp_path), *NAMES, "--beside", "rsa2048")
            first = told(await acme(proxy, "enable", *words))
            leaves = await both(openssl, proxy)
            assert prints(leaves) == first
            second = told(await acme(proxy, "renew"))
            others = await both(openssl, proxy)
            assert prints(others) == second
            assert set(first).isdisjoint(second)
            assert len({*keys(leaves), *keys(others)}) == 4
            done = await tlsproxy("acme", "status", "--store", str(proxy.store))
            assert re.search(rb"certificate  EC valid until .* UTC, RSA .* UTC, renewed from", done.stdout)
            assert (await stays.get("/")).status == 200
            assert b"PRIVATE" not in bytes(proxy.written)
        async with scene(tmp_path, pebble) as (proxy, _):
            assert prints(await both(openssl, proxy)) == second == told(await acme(proxy, "status"))


async def test_both_keys_stay_where_that_is_wanted_and_one_alone_takes_the_place_of_both(
    tmp_path, pebble, tool
) -> None:
    openssl = tool("openssl")
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            words = (*directory(pebble, tmp_path), *NAMES, "--keep-key")
            await acme(proxy, "enable", *words, "--beside", "rsa2048")
            before = await both(openssl, proxy)
            await acme(proxy, "renew")
            after = await both(openssl, proxy)
            assert keys(after) == keys(before)
            assert set(prints(after)).isdisjoint(prints(before))
            alone = await acme(proxy, "enable", *words)
            assert (alone["beside"], alone["beside_sha256"]) == (None, None)
            leaf = await seen(openssl, proxy, "ec", "-tls1_3")
            assert [alone["sha256"]] == prints([leaf])
            assert keys([leaf]) == keys(before[:1])


async def test_both_are_revoked_and_followed_by_others(tmp_path, pebble, tool) -> None:
    openssl = tool("openssl")
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            words = (*directory(pebble, tmp_path), "--name", "device.test", "--beside", "rsa2048")
            first = told(await acme(proxy, "enable", *words))
            leaves = await both(openssl, proxy)
            await acme(proxy, "revoke", "--reason", "key-compromise", "--yes")
            for leaf in leaves:
                status = await trio.to_thread.run_sync(pebble.status_of, leaf.serial_number)
                assert status == "Revoked"
            second = told(await followed(proxy, first))
            others = await both(openssl, proxy)
            assert prints(others) == second
            assert set(keys(others)).isdisjoint(keys(leaves))
            done = await tlsproxy("certs", "bans", "--json", "--store", str(proxy.store))
            assert {one["spki"] for one in json.loads(done.stdout)["bans"]} == set(keys(leaves))


async def test_a_device_has_both_as_its_maker_has_configured(tmp_path, pebble, tool) -> None:
    (tmp_path / "root.pem").write_bytes(pebble.server.ca_pem)
    more = f"""
        [acme]
        directory = "{pebble.server.directory}"
        names = ["device.test"]
        challenge = "tls-alpn-01"
        agree_tos = true
        ca_file = "{tmp_path / "root.pem"}"
        beside = "rsa2048"
    """
    with trio.fail_after(DEADLINE_S):
        async with configured(tmp_path, pebble, more) as (proxy, _):
            status = await come(proxy, "device.test")
            assert prints(await both(tool("openssl"), proxy)) == told(status)
