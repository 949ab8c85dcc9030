"""Destinations: servers as people name them, read into a name to ask for and a place to connect to.

Pure: nothing is resolved here. What is no server's name may be a file's.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from certstore import normalise
from tlsproxy.config import host_and_port, parse_listen

__all__ = ["Destination", "parse_destination"]

_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Destination:
    """A server: the name to ask it for, and where to connect to (`host` is a name or an address)."""

    server_name: str
    host: str
    port: int

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)


def parse_destination(text: str, connect: str = "", server_name: str = "") -> Destination | None:
    """Read `https://HOST[:PORT]` or `HOST:PORT`; None where it is neither, ValueError where it is a bad one.

    connect: where to connect to instead; server_name: what to ask for instead.
    """
    if text.lower().startswith("https://"):
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or _HTTPS
        if not host:
            raise ValueError(f"{text} names no host")
    else:
        before, colon, after = text.rpartition(":")
        if not (colon and before and after.isascii() and after.isdigit()) or "/" in text:
            return None
        host, port = parse_listen(text)
    return Destination(normalise(server_name or host), connect or host, port)
