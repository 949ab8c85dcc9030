"""A TLS client for loads: Python's own ssl, blocking, without verifying (that would cost only the client).

It is slower than most of the servers. That doesn't matter where the server's processor time per piece of work
is measured: a server that waits costs nothing.
"""

from __future__ import annotations

import hashlib
import socket
import ssl

HOST = "device.test"
TIMEOUT_S = 30.0


def make_context() -> ssl.SSLContext:
    """Make a context for TLS 1.3 and HTTP/1.1, as the whole suite uses it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    return context


def connect(
    context: ssl.SSLContext,
    port: int,
    session: ssl.SSLSession | None = None,
    *,
    name: str = HOST,
    source: str = "",
) -> ssl.SSLSocket:
    """Connect and shake hands; `session` is resumed if the server agrees. The caller closes it.

    name: the server name that is asked for. source: the address to come from, another than the usual one.
    """
    plain = socket.create_connection(("127.0.0.1", port), TIMEOUT_S, (source, 0) if source else None)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname=name, session=session)
    except BaseException:
        plain.close()
        raise


def request(target: str, *, close: bool = False) -> bytes:
    """Give a GET as curl would send it."""
    ending = "Connection: close\r\n" if close else ""
    return (
        f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: bench\r\nAccept: */*\r\n{ending}\r\n".encode()
    )


def read_head(tls: ssl.SSLSocket) -> tuple[bytes, bytearray]:
    """Read a response's head; give it and what came of the body with it. Raises OSError at a broken end."""
    buffer = bytearray()
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        data = tls.recv(65536)
        if not data:
            raise ConnectionResetError("the server closed within a head")
        buffer += data
    return bytes(buffer[: end + 4]), buffer[end + 4 :]


def content_length(head: bytes) -> int:
    """Give a response's Content-Length; raises ValueError where there is none."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("no Content-Length")


def get(tls: ssl.SSLSocket, target: str) -> bytes:
    """Ask for a small answer and read its body. Raises OSError unless it is a 200 with a length."""
    tls.sendall(request(target))
    head, body = read_head(tls)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise OSError(head.split(b"\r\n", 1)[0].decode("latin-1"))
    length = content_length(head)
    while len(body) < length:
        data = tls.recv(65536)
        if not data:
            raise ConnectionResetError("the server closed within a body")
        body += data
    return bytes(body)


def fingerprint(tls: ssl.SSLSocket) -> str:
    """Give the SHA-256 of the certificate that the server showed, lower-case hex."""
    return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
