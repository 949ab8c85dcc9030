"""A site that lets devices out by an HTTP proxy only: the authority is asked by it, and by nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from tests.authorities import pebble as pebbles
from tests.live.proxy_process import tlsproxy
from tests.live.test_acme import DEADLINE_S, NAMES, acme, directory, scene, shown


@asynccontextmanager
async def an_http_proxy() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a proxy that takes CONNECT (RFC 9110 section 9.3.6); gives its port, and what it was asked."""
    asked: list[bytes] = []

    async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await sink.send_all(data)
            await sink.send_eof()

    async def serve(client: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = await client.receive_some()
            if not more:
                return
            head += more
        asked.append(head.split(b"\r\n")[0])
        host, _, port = head.split()[1].decode().rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as there, trio.open_nursery() as nursery:
            await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            nursery.start_soon(pump, client, there)
            nursery.start_soon(pump, there, client)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1], asked
        nursery.cancel_scope.cancel()


async def test_the_authority_is_asked_by_the_sites_proxy_from_preflight_to_renewal(
    tmp_path, tmp_path_factory, pki
) -> None:
    with trio.fail_after(DEADLINE_S), pebbles.running(tmp_path_factory.mktemp("pebble"), pki) as pebble:
        async with an_http_proxy() as (port, asked), scene(tmp_path, pebble) as (proxy, _):
            where = directory(pebble, tmp_path)
            by = ("--proxy", f"http://127.0.0.1:{port}")
            line = f"CONNECT {pebble.server.directory.split('/')[2]} HTTP/1.1".encode()
            await acme(proxy, "preflight", *where[:-1], "--ip", "127.0.0.1", *by)
            assert set(asked) == {line}
            asked.clear()
            first = await acme(proxy, "enable", *where, *NAMES, *by)
            assert first["proxied"] is True
            assert await shown(proxy.port) == first["sha256"]
            assert set(asked) == {line}
            asked.clear()
            await acme(proxy, "renew")
            assert set(asked) == {line}
            words = ("acme", "enable", *where, *NAMES, "--proxy", "http://me:secret@127.0.0.1:1")
            refused = await tlsproxy(*words, "--store", str(proxy.store))
            assert refused.returncode != 0
            assert b"a password on a command line" in refused.stderr
