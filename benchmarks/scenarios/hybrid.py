"""New connections with a hybrid post-quantum key exchange: X25519MLKEM768, as browsers ask for it today.

The client is pyOpenSSL, whose OpenSSL knows the group; Python's own mostly doesn't. Who can't speak it (an
older OpenSSL) has no figure here. Beside it the same client with X25519 alone: the difference is the group's.
Each full, and resumed: in TLS 1.3 a resumed handshake exchanges keys, too (RFC 8446 section 4.2.9), so
that the group's cost stays while the signature's goes.
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


def _visit(
    context: SSL.Context, port: int, session: SSL.Session | None = None
) -> tuple[SSL.Session | None, bool]:
    """Connect, ask once, read to the server's end; gives the session, and whether it was resumed.

    Raises OSError where the answer isn't a 200.
    """
    with socket.create_connection(("127.0.0.1", port), client.TIMEOUT_S) as plain:
        plain.settimeout(None)  # pyOpenSSL takes a socket with a time limit for one that doesn't wait
        tls = SSL.Connection(context, plain)
        tls.set_tlsext_host_name(client.HOST.encode())
        if session is not None:
            tls.set_session(session)
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
        tls.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)  # else OpenSSL forgets the session
        private: Any = SSL  # pyOpenSSL doesn't tell
        return tls.get_session(), bool(private._lib.SSL_session_reused(tls._ssl))  # noqa: SLF001


def _cost_us(server: Server, group: str, count: int, *, resume: bool = False) -> float:
    """Give the microseconds of processor time of a connection; raises OSError where it isn't as asked."""
    context = _context(group)

    def series(share: int) -> None:
        session = first if resume else None
        for _ in range(share):
            ticket, resumed = _visit(context, server.port, session)
            if resumed is not resume:
                raise OSError("a full handshake" if resume else "a resumed handshake")
            session = ticket if resume else None

    first, _ = _visit(context, server.port)
    before = server.tree.cpu_s()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(series, count // AT_ONCE) for _ in range(AT_ONCE)]:
            done.result()
    return (server.tree.cpu_s() - before) / count * 1e6


def ways(server: Server) -> dict[str, tuple[str, bool]]:
    """Find what this server can: the key of a figure, to its group, and whether sessions are resumed.

    Raises OSError where it can't even shake hands by X25519.
    """
    found: dict[str, tuple[str, bool]] = {}
    for key, group in (("classical", CLASSICAL), ("hybrid", HYBRID)):
        context = _context(group)
        try:
            session, _ = _visit(context, server.port)
        except SSL.Error:
            if group == HYBRID:
                break
            raise OSError(f"no handshake with {group}") from None
        found[key] = (group, False)
        if _visit(context, server.port, session)[1]:
            found[f"{key}_resumed"] = (group, True)
    return found


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Make handshakes with X25519, and where the server can with the hybrid group; full, and resumed.

    All ways take turns within a round, so that a machine that gets slower slows them alike.
    """
    each = ways(server)
    _cost_us(server, CLASSICAL, _FIRST)
    turns, count = (1, 200) if quick else (5, 240)
    spent = dict.fromkeys(each, 0.0)
    for _ in range(turns):
        for key, (group, resume) in each.items():
            spent[key] += _cost_us(server, group, count, resume=resume)
    figures = {key: total / turns for key, total in spent.items()}
    for ending in ("", "_resumed"):
        if f"hybrid{ending}" in figures and f"classical{ending}" in figures:
            figures[f"group{ending}"] = figures[f"hybrid{ending}"] / figures[f"classical{ending}"]
    return figures


SCENARIO = Scenario(
    name="hybrid",
    title="New connections with post-quantum key exchange",
    load="pyOpenSSL in eight threads: a handshake with one group, full or resumed, one GET, close; in turns",
    figures=(
        Figure("classical", "us CPU per connection, X25519, full"),
        Figure("classical_resumed", "us CPU per connection, X25519, resumed", drawn=False),
        Figure("hybrid", "us CPU per connection, X25519MLKEM768, full"),
        Figure("hybrid_resumed", "us CPU per connection, X25519MLKEM768, resumed", drawn=False),
        Figure("group", "times X25519, full", 2, compared=False, drawn=False),
        Figure("group_resumed", "times X25519, resumed", 2, compared=False, drawn=False),
    ),
    measure=measure,
)
