"""100 MB down and 100 MB up on one connection each."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import client
from benchmarks.figures import Figure
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server
from benchmarks.upstream import BIG, BIG_BYTES

_PIECE = 65_536


def _download(port: int) -> None:
    with client.connect(client.make_context(), port) as tls:
        tls.sendall(client.request(BIG))
        head, body = client.read_head(tls)
        left = client.content_length(head) - len(body)
        if client.content_length(head) != BIG_BYTES:
            raise ValueError("the file has another length")
        buffer = bytearray(_PIECE)
        while left > 0:
            got = tls.recv_into(buffer)
            if not got:
                raise ConnectionResetError("the server closed within the file")
            left -= got


def _upload(port: int) -> None:
    head = f"POST /upload HTTP/1.1\r\nHost: {client.HOST}\r\nContent-Length: {BIG_BYTES}\r\n\r\n"
    with client.connect(client.make_context(), port) as tls:
        tls.sendall(head.encode())
        piece, left = memoryview(bytes(_PIECE)), BIG_BYTES
        while left > 0:
            left -= tls.send(piece[:left])
        answer, body = client.read_head(tls)
        body += tls.recv(100) if not body else b""
        if not answer.startswith(b"HTTP/1.1 200 ") or bytes(body) != str(BIG_BYTES).encode():
            raise OSError(f"the upload was answered by {answer[:40]!r}, {bytes(body)[:40]!r}")


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Move the bytes, some times each, so that one that was disturbed doesn't count for much."""
    times = 1 if quick else 5
    figures = {}
    for name, move in (("down", _download), ("up", _upload)):
        before = server.tree.cpu_s()
        for _ in range(times):
            move(server.port)
        figures[name] = (server.tree.cpu_s() - before) / times * 1000
    return figures


SCENARIO = Scenario(
    name="bulk",
    title="100 MB down and up",
    load="Python's ssl on one connection, 64 KiB at a time; the upstream sends a file, reads a body whole",
    figures=(Figure("down", "ms CPU per 100 MB down"), Figure("up", "ms CPU per 100 MB up")),
    measure=measure,
)
