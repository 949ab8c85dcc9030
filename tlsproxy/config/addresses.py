"""Addresses as people write them, for listeners and upstreams: one parser for the command line and for files.

Promises: text in, values out, or a `ValueError` whose words say what is wrong and how it is meant. Nothing is
resolved or opened here.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

# sockaddr_un holds 108 bytes with the closing NUL (unix(7)).
MAX_SOCKET_PATH_BYTES = 107

_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[^:]*)")
# RFC 1123 section 2.1, and the underscore that container names have.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where a local service listens: host and port for "http" and "https", a socket's path for "unix"."""

    scheme: Literal["http", "https", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.path}"
        return f"{self.scheme}://{host_and_port(self.host, self.port)}"

    @property
    def is_local(self) -> bool:
        """Say whether its bytes stay on this machine, as far as the text tells."""
        return self.scheme == "unix" or is_loopback(self.host)


def parse_listen(text: str) -> tuple[str, int]:
    """Read `host:port` into host and port; `*`, nothing and `[::]` all mean every address ("::").

    Port 0 asks for any free port.
    """
    match = _HOST_AND_PORT.fullmatch(text.strip())
    if match is None:
        if text.strip().isdigit():
            raise ValueError(f"{text!r} has no host: write *:{text.strip()} to listen on every address")
        if text.count(":") > 1:
            raise ValueError(f"{text!r}: an IPv6 address stands in brackets, as in [::1]:443")
        raise ValueError(f"{text!r} is no address and port, as in 127.0.0.1:8443 or [::]:443")
    port = _port(match["port"], text, lowest=0)
    if match["v6"] is not None:
        return _ipv6(match["v6"], text), port
    return ("::" if match["host"] in {"", "*"} else _host(match["host"], text)), port


def parse_upstream(text: str) -> UpstreamAddress:
    """Read `http://host[:port]`, `https://host[:port]` or `unix:/path`."""
    scheme, colon, rest = text.strip().partition(":")
    match scheme.lower() if colon else "":
        case "http":
            return _http_upstream("http", rest, text)
        case "https":
            return _http_upstream("https", rest, text)
        case "unix":
            return _unix_upstream(rest, text)
        case "h2c" | "ws" | "wss" | "tcp":
            raise ValueError(
                f"{text!r}: upstreams speak HTTP/1.1: write http:// or https:// (WebSockets included)"
            )
        case _:
            raise ValueError(f"{text!r} is no upstream, as in http://127.0.0.1:3000 or unix:/run/api.sock")


def host_and_port(host: str, port: int) -> str:
    """Write a host and a port as they stand in URLs, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine by its own loopback addresses or by the name localhost."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost")


def overlap(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Say whether two listening addresses can't both be bound; names are compared as text only."""
    if one[1] != other[1] or one[1] == 0:
        return False
    hosts = {one[0], other[0]}
    if len(hosts) == 1 or "::" in hosts:
        return True
    return "0.0.0.0" in hosts and not any(":" in host for host in hosts)  # noqa: S104  it is only compared


def _http_upstream(scheme: Literal["http", "https"], rest: str, text: str) -> UpstreamAddress:
    if not rest.startswith("//"):
        raise ValueError(f"{text!r}: write {scheme}://host:port")
    authority, _, path = rest[2:].partition("/")
    if path or "?" in authority or "#" in authority:
        raise ValueError(f"{text!r}: an upstream has no path; requests keep the path that the client sent")
    if "@" in authority:
        raise ValueError(f"{text!r}: an upstream takes no user and password")
    usual = {"http": 80, "https": 443}[scheme]
    match = _HOST_AND_PORT.fullmatch(authority if re.search(r":\d*$", authority) else f"{authority}:{usual}")
    if match is None or not (match["v6"] or match["host"]):
        raise ValueError(f"{text!r} has no host, or an IPv6 address without brackets")
    host = _ipv6(match["v6"], text) if match["v6"] else _host(match["host"], text)
    return UpstreamAddress(scheme, host=host, port=_port(match["port"], text, lowest=1))


def _unix_upstream(rest: str, text: str) -> UpstreamAddress:
    path = "/" + rest.lstrip("/")
    if not rest.startswith("/") or path == "/":
        raise ValueError(f"{text!r}: write the whole path, as in unix:/run/api.sock")
    if "\0" in path:
        raise ValueError(f"{text!r} holds a NUL byte")
    if (size := len(path.encode("utf-8", "surrogateescape"))) > MAX_SOCKET_PATH_BYTES:
        raise ValueError(
            f"{text!r}: the path has {size} bytes, and the system takes {MAX_SOCKET_PATH_BYTES} for a socket"
        )
    return UpstreamAddress("unix", path=path)


def _port(digits: str, text: str, *, lowest: int) -> int:
    if not digits:
        raise ValueError(f"{text!r} has no port")
    if not (digits.isascii() and digits.isdigit()) or not lowest <= int(digits[:6]) <= 65535:
        raise ValueError(f"{text!r}: a port is a number from {lowest} to 65535")
    return int(digits)


def _ipv6(literal: str, text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(literal))
    except ValueError:
        raise ValueError(f"{text!r}: {literal!r} is no IPv6 address") from None


def _host(host: str, text: str) -> str:
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(f"{text!r}: {host!r} is no IPv4 address") from None
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{text!r}: {host!r} is no host name")
    return host.lower()
