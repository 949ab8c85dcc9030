"""Fenced in, a worker still reaches what it was configured for; as any user, on any kernel."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.confining import FOUND
from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import running, write_config

DEADLINE_S = 90


async def test_an_upstream_is_reached_by_address_by_name_and_by_a_socket(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, trio.open_nursery() as nursery:
            sock = trio.socket.socket(trio.socket.AF_UNIX)
            await sock.bind(str(tmp_path / "s"))
            sock.listen()
            nursery.start_soon(trio.serve_listeners, answer_once, [trio.SocketListener(sock)])
            routes = {
                "/": f"http://127.0.0.1:{http}",
                "/name": f"http://localhost:{http}",
                "/socket": f"unix:{tmp_path}/s",
            }
            async with running(write_config(tmp_path, routes, top="workers = 1")) as proxy:
                for path in ("/", "/name", "/socket"):
                    async with Client.to(proxy.port) as client:
                        assert (await client.get(path)).status == 200, path
                told = {one["kind"]: one["facts"] for one in (await proxy.status())["confinement"]}
                assert set(told) >= {"supervisor", "worker"}
                for facts in told.values():
                    assert facts["no_new_privs"] is True
                    assert facts["landlock"] == FOUND.abi
            nursery.cancel_scope.cancel()


async def answer_once(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
