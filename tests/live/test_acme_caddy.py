"""Certificates of five minutes from Caddy's ACME server, for an address, while clients are connected."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from certstore.issuers.acme.wishes import Server
from tests.authorities import caddy as caddies
from tests.live.https_client import Client
from tests.live.load import Load, keep_asking, keep_talking
from tests.live.peers import http_service, websocket_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_acme import acme

# The loopback network is large, and all of it is ours.
ADDRESS = "127.77.7.7"
# Half of its life (five minutes, and one that Caddy dates back) is over two minutes after it came.
DEADLINE_S = 400


def is_free(port: int) -> bool:
    try:
        socket.create_server((ADDRESS, port)).close()
    except OSError:
        return False
    return True


async def shown() -> str:
    async with Client.to(443, address=ADDRESS, server_name=ADDRESS) as client:
        assert (await client.get("/")).status == 200
        return client.fingerprint


@pytest.fixture
def caddy(tmp_path_factory, pki):
    if not (is_free(80) and is_free(443)):
        pytest.skip("the ports 80 and 443 can't be had by us here")
    with caddies.running(tmp_path_factory.mktemp("caddy"), pki) as server:
        yield server


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Proxy]:
    listeners = "".join(
        f'[[listener]]\naddress = "{ADDRESS}:{port}"\nkind = "{kind}"\n'
        for port, kind in ((443, "tls"), (80, "http"))
    )
    async with http_service() as http, websocket_service() as echo:
        routes = {"/": f"http://127.0.0.1:{http}", "/ws/": f"http://127.0.0.1:{echo}"}
        async with running(write_config(folder, routes, more=listeners, top="workers = 2")) as proxy:
            yield proxy


def enable(server: Server, folder: Path, challenge: str) -> tuple[str, ...]:
    root = folder / "root.pem"
    root.write_bytes(server.ca_pem)
    words = ("enable", "--directory", server.directory, "--ca-file", str(root), "--agree-tos")
    return (*words, "--ip", ADDRESS, "--challenge", challenge)


async def test_it_comes_and_is_renewed_three_times_and_nobody_is_disturbed(tmp_path, caddy) -> None:
    """Twice by a person, in between by itself, when it is due."""
    load = Load()
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path) as proxy, trio.open_nursery() as nursery:
            first = await acme(proxy, *enable(caddy, tmp_path, "http-01"))
            assert first["names"] == [ADDRESS]
            for number in range(3):
                nursery.start_soon(keep_asking, 443, load, number, ADDRESS)
                nursery.start_soon(keep_talking, 443, load, number, ADDRESS)
            second = await acme(proxy, "renew")
            assert len({first["sha256"], second["sha256"]}) == 2
            while (third := await acme(proxy, "status"))["sha256"] == second["sha256"]:  # noqa: ASYNC110
                await trio.sleep(1)
            fourth = await acme(proxy, *enable(caddy, tmp_path, "tls-alpn-01"))
            assert await shown() == fourth["sha256"] != third["sha256"]
            again = await acme(proxy, *enable(caddy, tmp_path, "tls-alpn-01"))
            assert again["sha256"] == fourth["sha256"], "what is wanted already isn't asked for once more"
            requests, messages, *_ = load.counts
            assert requests > 100
            assert messages > 100
            load.ending = True
        assert load.reconnects == 0, "each client has the connection that it began with"
        assert len({one["sha256"] for one in (first, second, third, fourth)}) == 4


async def test_a_certificate_of_it_is_revoked(tmp_path, caddy) -> None:
    with trio.fail_after(120):
        async with scene(tmp_path) as proxy:
            first = await acme(proxy, *enable(caddy, tmp_path, "tls-alpn-01"))
            assert await shown() == first["sha256"]
            await acme(proxy, "revoke", "--yes")
            done = await tlsproxy("acme", "status", "--store", str(proxy.store))
            assert done.returncode == 0
