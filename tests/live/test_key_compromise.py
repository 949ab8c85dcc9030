"""A lost key: whoever is connected by it is let go in order, in old workers too, and it never comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio_websocket

from tests.live.https_client import Client, trusting_nobody
from tests.live.peers import http_service, websocket_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.pki import Issued, Pki

DEADLINE_S = 120
RESTART = 1012


def written(folder: Path, issued: Issued) -> Path:
    path = folder / f"{issued.bundle().id[:8]}.pem"
    path.write_bytes(issued.chain_pem + issued.key_pem)
    return path


async def certs(proxy: Proxy, *words: str) -> tuple[int, str]:
    done = await tlsproxy("certs", *words, "--store", str(proxy.store))
    return done.returncode, (done.stdout + done.stderr).decode()


async def generations(proxy: Proxy) -> set[int]:
    """Give the generations that open connections were made with."""
    status = await proxy.status()
    return {generation for worker in status["workers"] for generation, _ in worker["generations"]}


async def test_a_lost_key_ends_its_connections_everywhere_and_is_never_served_again(
    tmp_path: Path, pki: Pki
) -> None:
    lost, renewed, new = pki.leaf(), pki.leaf(), pki.leaf()
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, websocket_service() as ws:
            routes = {"/": f"http://127.0.0.1:{http}", "/ws": f"http://127.0.0.1:{ws}"}
            async with running(write_config(tmp_path, routes, top="workers = 2")) as proxy:
                assert (await certs(proxy, "import", str(written(tmp_path, lost))))[0] == 0
                (old,) = await _shown(proxy)
                assert old == lost.bundle().fingerprint
                async with websocket(proxy.port) as socket, Client.to(proxy.port) as idle:
                    assert (await idle.get("/1")).status == 200
                    # the tunnel lives on in a worker of the image before; the idle one in it as well
                    reloaded = await tlsproxy("reload", "--store", str(proxy.store))
                    assert reloaded.returncode == 0
                    renewal = await certs(proxy, "import", str(written(tmp_path, renewed)))
                    assert renewal[0] == 0, renewal
                    await socket.send_message("still here")
                    assert await socket.get_message() == "still here", "a renewal ends nothing"
                    told = await certs(proxy, "ban", str(written(tmp_path, lost)), "--yes")
                    assert told[0] == 0, told
                    with pytest.raises(trio_websocket.ConnectionClosed) as closed:
                        await socket.get_message()
                    assert closed.value.reason is not None
                    assert closed.value.reason.code == RESTART
                    assert await idle.ended()
                async with Client.to(proxy.port) as young:
                    assert (await young.get("/3")).status == 200
                    assert young.fingerprint == renewed.bundle().fingerprint
                    done = await certs(
                        proxy, "import", str(written(tmp_path, new)), "--reason", "key-compromise"
                    )
                    assert done[0] == 0, done
                    assert await young.ended()
                while await generations(proxy):  # noqa: ASYNC110  a heartbeat tells
                    await trio.sleep(0.1)
                for gone in (lost, renewed):
                    code, words = await certs(proxy, "import", str(written(tmp_path, gone)))
                    assert (code, "[key_banned]" in words) == (1, True)
                assert await _shown(proxy) == {new.bundle().fingerprint}


@asynccontextmanager
async def websocket(port: int) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(tcp, trusting_nobody(), server_hostname="device.test")
    async with trio.open_nursery() as nursery:
        try:
            yield await trio_websocket.wrap_client_stream(nursery, stream, "device.test", "/ws/x")
        finally:
            await trio.aclose_forcefully(tcp)
            nursery.cancel_scope.cancel()


async def _shown(proxy: Proxy) -> set[str]:
    found = set()
    for _ in range(4):
        async with Client.to(proxy.port) as client:
            found.add(client.fingerprint)
    return found
