"""200 WebSockets, a small message to and fro on each: what a message and its echo cost."""

from __future__ import annotations

import selectors
import ssl
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks import client
from benchmarks.figures import Figure
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server

CONNECTIONS = 200
# A text frame of 64 bytes, masked with zeros (RFC 6455 section 5.2).
FRAME = bytes([0x81, 0x80 | 64, 0, 0, 0, 0]) + b"x" * 64
_UPGRADE = (
    f"GET /echo HTTP/1.1\r\nHost: {client.HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
# The example of RFC 6455 section 1.3.
_ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def _upgraded(head: bytes) -> None:
    if not head.startswith(b"HTTP/1.1 101 ") or _ACCEPT not in head:
        raise OSError(f"no upgrade: {head[:60]!r}")


def open_socket(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """Open a WebSocket; the caller closes it. Raises OSError where the upgrade is refused."""
    tls = client.connect(context, port)
    try:
        tls.sendall(_UPGRADE)
        head, _ = client.read_head(tls)
        _upgraded(head)

    except BaseException:
        tls.close()
        raise
    return tls


def _play(selector: selectors.BaseSelector, rounds: int) -> None:
    """Send a frame on each, and another when its echo is whole, until each has had `rounds`."""
    got: dict[int, int] = {}
    for key in selector.get_map().values():
        got[key.fd] = 0
        key.data.send(FRAME)
    waiting = len(got)
    while waiting:
        ready = selector.select(client.TIMEOUT_S)
        if not ready:
            raise TimeoutError("an echo didn't come")
        for key, _ in ready:
            try:
                data = key.data.recv(4096)
            except ssl.SSLWantReadError:  # a session ticket, or half a record
                continue
            if not data:
                raise ConnectionResetError("the server closed a WebSocket")
            got[key.fd] += len(data)
            if got[key.fd] % len(FRAME) == 0:
                if got[key.fd] == rounds * len(FRAME):
                    waiting -= 1
                else:
                    key.data.send(FRAME)


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Open them all, then count only the messages."""
    rounds, context = (20 if quick else 100), client.make_context()
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            tls = stack.enter_context(open_socket(context, server.port))
            tls.setblocking(False)
            selector.register(tls, selectors.EVENT_READ, tls)
        _play(selector, 2)
        before = server.tree.cpu_s()
        _play(selector, rounds)
        used = server.tree.cpu_s() - before
    return {"echo": used / (rounds * CONNECTIONS) * 1e6}


SCENARIO = Scenario(
    name="echo",
    title="WebSocket echo on 200 connections",
    load="Python's ssl with epoll: a 64-byte frame on each connection, the next one when its echo is there",
    figures=(Figure("echo", "us CPU per message and its echo"),),
    measure=measure,
)
