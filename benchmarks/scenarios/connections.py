"""A new connection for each request: a full TLS 1.3 handshake, and a resumed one."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from benchmarks import client
from benchmarks.figures import Figure
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server, resumes

AT_ONCE = 8
# Warms the server up: its context, its first upstream connection.
_FIRST = 50


def _visit(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Connect, ask once, read to the server's end; give the session for the next visit."""
    with client.connect(context, port, session) as tls:
        tls.sendall(client.request("/", close=True))
        head, _ = client.read_head(tls)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise OSError(head.split(b"\r\n", 1)[0].decode("latin-1"))
        try:
            while tls.recv(65536):
                pass
        except ssl.SSLEOFError:  # an end without close_notify: the answer was whole
            pass
        return tls.session


def _visits(port: int, count: int, *, resume: bool) -> None:
    given_up = Event()

    def series(share: int) -> None:
        context = client.make_context()
        session: ssl.SSLSession | None = None
        for _ in range(share):
            if given_up.is_set():
                return
            ticket = _visit(context, port, session if resume else None)
            session = ticket or session

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done in [pool.submit(series, count // AT_ONCE) for _ in range(AT_ONCE)]:
                done.result()
        finally:
            given_up.set()


def _cost_us(server: Server, count: int, *, resume: bool) -> float:
    before = server.tree.cpu_s()
    _visits(server.port, count, resume=resume)
    return (server.tree.cpu_s() - before) / count * 1e6


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Make full handshakes; then, where the server resumes at all, resumed ones."""
    count = 200 if quick else 1000
    _visits(server.port, _FIRST, resume=False)
    figures = {"full": _cost_us(server, count, resume=False)}
    if resumes(server, client.make_context()):
        figures["resumed"] = _cost_us(server, count, resume=True)
    return figures


SCENARIO = Scenario(
    name="connections",
    title="A new connection for each request",
    load="Python's ssl in eight threads: handshake, one GET, close; the load is slower than the servers",
    figures=(
        Figure("full", "us CPU per connection, full handshake"),
        Figure("resumed", "us CPU per connection, resumed"),
    ),
    measure=measure,
)
