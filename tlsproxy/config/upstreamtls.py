"""How a route's https upstream is believed, and what it is shown: the table `tls` of a route.

Pure: tables and routes go in, values and complaints come out. What it means: docs/upstream-tls.md.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Literal

from certstore import normalise
from tlsproxy.config.addresses import UpstreamAddress
from tlsproxy.config.lines import Path
from tlsproxy.config.tables import Table
from tlsproxy.config.values import RouteConfig, UpstreamTLSConfig

__all__ = ["advise_upstream_tls", "find_tls_contradictions", "parse_pin", "read_upstream_tls"]

Complaint = tuple[Path, str, str]

_HEX = re.compile(r"[0-9a-f]{64}")


def read_upstream_tls(
    route: Table, upstream: UpstreamAddress | None, path_of: Callable[[str], FilePath]
) -> UpstreamTLSConfig | None:
    """Read a route's table `tls`; the defaults where an https upstream has none, None for others."""
    is_tls = upstream is not None and upstream.scheme == "https"
    if "tls" not in route:
        return UpstreamTLSConfig() if is_tls else None
    table = route.table("tls")
    found = UpstreamTLSConfig(
        server_name=table.parsed("server_name", _server_name, ""),
        ca_file=table.parsed("ca_file", path_of, None),
        verify=table.leaf("verify", Literal["chain", "pin"], "chain"),
        pins=tuple(dict.fromkeys(table.parsed_list("pins", parse_pin))),
        client_certificate=table.parsed("client_certificate", path_of, None),
        client_key=table.parsed("client_key", path_of, None),
        unsafe_no_verify=table.leaf("unsafe_no_verify", bool, False),
    )
    table.finish()
    if upstream is not None and not is_tls:
        route.refuse("tls", f"{upstream} speaks no TLS", "write its upstream with https://")
        return None
    return found


def find_tls_contradictions(routes: Mapping[Path, RouteConfig]) -> Iterator[Complaint]:
    """Find what can't be meant together, and routes that say different things of one upstream."""
    seen: dict[str, UpstreamTLSConfig] = {}
    for place, route in routes.items():
        if (tls := route.tls) is None:
            continue
        for key, why, hint in _contradictions(tls):
            yield (*place, "tls", key), why, hint
        if seen.setdefault(str(route.upstream), tls) != tls:
            why = f"another route says other things of TLS to {route.upstream}"
            yield (*place, "tls"), why, "an upstream is believed in one way: write the same for both"


def _contradictions(tls: UpstreamTLSConfig) -> Iterator[tuple[str, str, str]]:
    if tls.verify == "pin" and not tls.pins:
        yield "verify", "there is no pin to verify by", 'add pins = ["sha256/..."]'
    if tls.verify == "pin" and tls.ca_file is not None:
        yield "ca_file", 'verify = "pin" asks no authority', 'leave it out, or take verify = "chain"'
    if tls.client_key is not None and tls.client_certificate is None:
        yield "client_key", "stands without its certificate", 'add client_certificate = "client.pem"'
    if tls.unsafe_no_verify and (tls.pins or tls.ca_file is not None):
        why = "nothing is verified, although there is what it could be verified by"
        yield "unsafe_no_verify", why, "leave it out"


def advise_upstream_tls(routes: Mapping[Path, RouteConfig]) -> Iterator[Complaint]:
    """Find what deserves a second look."""
    for place, route in routes.items():
        if route.tls is not None and route.tls.unsafe_no_verify:
            why = f"whoever answers at {route.upstream.host} is taken for the service"
            yield (
                (*place, "tls", "unsafe_no_verify"),
                why,
                'pin its key: verify = "pin", pins = ["sha256/..."]',
            )


def parse_pin(text: str) -> str:
    """Read a pin: SHA-256 of a SubjectPublicKeyInfo as `sha256/BASE64` (RFC 7469) or hex; gives hex."""
    plain = text.strip().lower().replace(":", "")
    if _HEX.fullmatch(plain):
        return plain
    kind, _, encoded = text.strip().replace("sha256//", "sha256/").partition("/")
    try:
        digest: Any = base64.b64decode(encoded, validate=True) if kind == "sha256" else b""
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 32:
        raise ValueError(
            f"{text[:80]!r} is no pin, as in sha256/ and the SHA-256 of its public key in base64"
        )
    return bytes(digest).hex()


def _server_name(text: str) -> str:
    try:
        name = normalise(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no host name or address: {error}") from None
    if name.startswith("*"):
        raise ValueError(f"{text!r}: write the one name that the service is asked for")
    return name
