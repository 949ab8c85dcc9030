"""New connections with a hybrid post-quantum key exchange: X25519MLKEM768, as browsers ask for it today.

The client is pyOpenSSL, whose OpenSSL knows the group; Python's own mostly doesn't. Who can't speak it (an
older OpenSSL) has no figure here. Beside it the same client with X25519 alone: the difference is the group's.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from OpenSSL import SSL

from benchmarks import client
from benchmarks.figures import Figure
from benchmarks.scenarios.connections import AT_ONCE
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server

HYBRID, CLASSICAL = "X25519MLKEM768", "X25519"
_FIRST = 50


def _context(group: str) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_alpn_protos([b"http/1.1"])
    private: Any = SSL  # pyOpenSSL has no method for groups
    if private._lib.SSL_CTX_set1_curves_list(context._context, group.encode()) != 1:  # noqa: SLF001
        raise ValueError(f"this pyOpenSSL doesn't know {group}")
    return context


def _visit(context: SSL.Context, port: int) -> None:
    """Connect, ask once, read to the server's end."""
    with socket.create_connection(("127.0.0.1", port), client.TIMEOUT_S) as plain:
        plain.settimeout(None)  # pyOpenSSL takes a socket with a time limit for one that doesn't wait
        tls = SSL.Connection(context, plain)
        tls.set_tlsext_host_name(client.HOST.encode())
        tls.set_connect_state()
        tls.do_handshake()
        tls.sendall(client.request("/", close=True))
        answer = b""
        try:
            while data := tls.recv(65536):
                answer += data
        except SSL.ZeroReturnError:
            pass
        except SSL.SysCallError:  # an end without close_notify: the answer was whole
            pass
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise OSError(answer[:40].decode("latin-1"))


def _cost_us(server: Server, group: str, count: int) -> float:
    context = _context(group)

    def series(share: int) -> None:
        for _ in range(share):
            _visit(context, server.port)

    before = server.tree.cpu_s()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(series, count // AT_ONCE) for _ in range(AT_ONCE)]:
            done.result()
    return (server.tree.cpu_s() - before) / count * 1e6


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Make handshakes with X25519, and where the server can with the hybrid group."""
    count = 200 if quick else 1000
    _cost_us(server, CLASSICAL, _FIRST)
    figures = {"classical": _cost_us(server, CLASSICAL, count)}
    try:
        _visit(_context(HYBRID), server.port)
    except SSL.Error:
        return figures
    return figures | {"hybrid": _cost_us(server, HYBRID, count)}


SCENARIO = Scenario(
    name="hybrid",
    title="New connections with post-quantum key exchange",
    load="pyOpenSSL in eight threads: a full handshake with one group, one GET, close",
    figures=(
        Figure("classical", "us CPU per connection, X25519"),
        Figure("hybrid", "us CPU per connection, X25519MLKEM768"),
    ),
    measure=measure,
)
