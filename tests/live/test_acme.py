"""`tlsproxy acme` as a person uses it, with Let's Encrypt's test authority that looks at the proxy."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.authorities import pebble as pebbles
from tests.authorities.pebble import Pebble
from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_events import following
from tests.live.test_events import told as heard
from tests.live.test_metrics import scraped
from tests.live.test_reload import reload

DEADLINE_S = 150
NAMES = ("--name", "device.test", "--name", "other.test")


@asynccontextmanager
async def scene(folder: Path, pebble: Pebble) -> AsyncIterator[tuple[Proxy, Path]]:
    async with http_service() as http:
        plain = f'[[listener]]\naddress = "127.0.0.1:{pebble.http}"\nkind = "http"'
        routes = {"/": f"http://127.0.0.1:{http}"}
        config = write_config(
            folder, routes, listener=f"127.0.0.1:{pebble.tls}", more=plain, top="workers = 2"
        )
        async with running(config) as proxy:
            yield proxy, config


async def acme(proxy: Proxy, *words: str, code: int = 0, stdin: bytes = b"") -> dict[str, Any]:
    with trio.fail_after(60):
        done = await tlsproxy("acme", *words, "--store", str(proxy.store), "--json", stdin=stdin)
    assert done.returncode == code, (done.stderr, done.stdout)
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def directory(pebble: Pebble, folder: Path) -> tuple[str, ...]:
    root = folder / "root.pem"
    root.write_bytes("# Wurzel f\u00fcr Ger\u00e4te\n".encode("latin-1") + pebble.server.ca_pem)
    return ("--directory", pebble.server.directory, "--ca-file", str(root), "--agree-tos")


async def shown(port: int) -> str:
    async with Client.to(port) as client:
        assert (await client.get("/")).status == 200
        return client.fingerprint


@pytest.fixture
def pebble(tmp_path_factory, pki):
    with pebbles.running(tmp_path_factory.mktemp("pebble"), pki) as running:
        yield running


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
async def test_a_certificate_comes_is_renewed_and_clients_stay(tmp_path, pebble, challenge) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _), Client.to(proxy.port) as stays:
            own = await shown(proxy.port)
            first = await acme(
                proxy, "enable", *directory(pebble, tmp_path), *NAMES, "--challenge", challenge
            )
            assert first["names"] == ["device.test", "other.test"]
            assert (first["failures"], first["last_failure"], first["step"]) == (0, None, None)
            assert await shown(proxy.port) == first["sha256"] != own
            assert (await acme(proxy, "status"))["sha256"] == first["sha256"]
            second = await acme(proxy, "renew")
            assert await shown(proxy.port) == second["sha256"] != first["sha256"]
            metrics = await scraped(proxy)
            assert metrics["tlsproxy_acme_tries_total"]["issued",] == 2
            assert metrics["tlsproxy_acme_failures"][()] == 0
            assert metrics["tlsproxy_acme_next_timestamp_seconds"][()] > time.time()
            assert await reload(proxy) == (0, "")
            assert (await acme(proxy, "status"))["sha256"] == second["sha256"]
            status = await proxy.status()
            assert "acme" in {one["source"] for one in status["served"]}
            await acme(proxy, "disable")
            done = await tlsproxy("acme", "status", "--store", str(proxy.store))
            assert done.returncode == 1
            assert await shown(proxy.port) == second["sha256"], "what is there stays"
            assert (await stays.get("/")).status == 200
        audit = (proxy.store / "audit.jsonl").read_text()
        assert {"enable_acme", "renew_acme", "disable_acme"} <= {
            json.loads(x)["what"] for x in audit.splitlines()
        }
        for secret in (proxy.store / "authority").rglob("*.pem"):
            assert secret.stat().st_mode & 0o077 == 0
        assert b"PRIVATE" not in bytes(proxy.written)


async def test_a_person_sees_what_is_waited_for_and_so_does_who_follows_events(tmp_path, pebble) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _), following(proxy, "--after", "0") as events:
            words = ("acme", "enable", *directory(pebble, tmp_path), *NAMES, "--store", str(proxy.store))
            done = await tlsproxy(*words, within_s=60)
            assert done.returncode == 0, done.stderr
            host = pebble.server.directory.partition("//")[2].partition("/")[0]
            told = re.sub(r", until [0-9:]{8} UTC at the longest", "", done.stderr.decode()).splitlines()
            steps = [
                f"finding the account at {host} ...",
                f"placing the order at {host} for device.test, other.test ...",
                "preparing the proof of device.test, other.test by http-01 ...",
                f"waiting for {host} to see the proof of device.test, other.test by http-01 ...",
                f"waiting for {host} to issue the certificate ...",
                "fetching the certificate ...",
                "having the certificate examined and served ...",
            ]
            unfinished = re.compile(rf"waiting for {host} to see the proof of (device|other)\.test by .*")
            assert [line for line in told if not unfinished.fullmatch(line)] == steps
            assert done.stdout.startswith(b"authority    https://")
            issued = await heard(events, kind="acme", state="issued")
            assert issued["names"] == ["device.test", "other.test"]
            states = [one.get("step") or one["state"] for one in events if one["kind"] == "acme"]
            assert states[:4] == ["account", "asked", "account", "order"]
            await acme(proxy, "disable")
            await heard(events, kind="acme", state="disabled")


async def test_a_customers_certificate_keeps_its_place_and_acmes_stands_ready(tmp_path, pebble, pki) -> None:
    leaf = pki.leaf(("device.test",))
    (tmp_path / "own.pem").write_bytes(leaf.chain_pem + leaf.key_pem)
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            await proxy.certs_import(tmp_path / "own.pem")
            ours = await acme(proxy, "enable", *directory(pebble, tmp_path), "--name", "device.test")
            assert await shown(proxy.port) == leaf.bundle().fingerprint != ours["sha256"]
            done = await tlsproxy("certs", "remove", "--source", "customer", "--store", str(proxy.store))
            assert done.returncode == 0, done.stderr
            assert await shown(proxy.port) == ours["sha256"]


async def test_what_fails_is_told_and_tried_again_and_nothing_is_lost(tmp_path, pebble) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            own = await shown(proxy.port)
            no_terms = [word for word in directory(pebble, tmp_path) if word != "--agree-tos"]
            done = await tlsproxy("acme", "enable", *no_terms, *NAMES, "--store", str(proxy.store))
            assert done.returncode == 1
            assert b"terms" in done.stderr
            await trio.to_thread.run_sync(
                lambda: pebble.set_dns("add-a", host="lost.test", addresses=["127.0.0.9"])
            )
            words = (
                "enable",
                *directory(pebble, tmp_path),
                "--name",
                "lost.test",
                "--challenge",
                "tls-alpn-01",
            )
            failed = await acme(proxy, *words, code=1)
            assert failed["failures"] == 1
            assert isinstance(failed["last_failure"], dict)
            assert failed["last_failure"]["code"] == "acme_challenge_failed"
            assert failed["next_at"] is not None
            await proxy.wait_log("finding", code="acme_challenge_failed")
            assert await shown(proxy.port) == own
            mended = await acme(proxy, "enable", *directory(pebble, tmp_path), "--name", "device.test")
            assert await shown(proxy.port) == mended["sha256"]
            assert mended["failures"] == 0


async def test_an_enrolment_outlives_the_proxy(tmp_path, pebble) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            first = await acme(proxy, "enable", *directory(pebble, tmp_path), *NAMES)
        async with scene(tmp_path, pebble) as (proxy, _):
            assert await shown(proxy.port) == first["sha256"]
            after = await acme(proxy, "status")
            assert (after["sha256"], after["names"]) == (first["sha256"], first["names"])
            assert after["renew_at"] == first["renew_at"] is not None
            second = await acme(proxy, "renew")
            assert await shown(proxy.port) == second["sha256"] != first["sha256"]


async def test_a_reset_of_what_is_the_customers_ends_it(tmp_path, pebble) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            first = await acme(proxy, "enable", *directory(pebble, tmp_path), *NAMES)
            done = await tlsproxy("reset", "--yes", "--scope", "customer", "--store", str(proxy.store))
            assert done.returncode == 0, done.stderr
            assert await shown(proxy.port) != first["sha256"]
            for words in (("status",), ("renew",)):
                done = await tlsproxy("acme", *words, "--store", str(proxy.store))
                assert done.returncode == 1
                assert b"there is no ACME enrolment" in done.stderr
            left = [path.name for path in (proxy.store / "authority" / "accounts").iterdir()]
            assert left == []
            again = await acme(proxy, "enable", *directory(pebble, tmp_path), *NAMES)
            assert await shown(proxy.port) == again["sha256"]
