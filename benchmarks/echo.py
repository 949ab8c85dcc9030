"""An echo behind WebSocket upgrades (RFC 6455), as fast as Python lets it be; part of the upstream.

    python -m benchmarks.echo PORT

Answers the upgrade properly, then sends back what comes, byte for byte: the load's frames are masked with
zeros, so they are their own echo but for the mask bit, which proxies don't read. One process, epoll.
"""

from __future__ import annotations

import base64
import hashlib
import selectors
import socket
import sys

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def accept_key(key: bytes) -> bytes:
    """Give the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def upgrade(head: bytes) -> bytes:
    """Answer an upgrade request."""
    key = next(
        (
            value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
            if name.lower() == b"sec-websocket-key"
        ),
        b"",
    )
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
    )


def serve(listener: socket.socket) -> None:
    """Accept and echo until the process ends. Messages are small: what doesn't fit a send buffer ends it."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    upgraded: set[int] = set()
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ, sock)
                continue
            sock = key.data
            try:
                data = sock.recv(65536)
                if not data:
                    raise ConnectionResetError
                sock.sendall(data if key.fd in upgraded else upgrade(data))
                upgraded.add(key.fd)
            except OSError:
                upgraded.discard(key.fd)
                selector.unregister(sock)
                sock.close()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024) as door:
        serve(door)
