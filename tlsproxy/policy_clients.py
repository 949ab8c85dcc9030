"""Who has to show a certificate: one rule as a value, and its limits. Values only, as in policy.py.

A rule belongs to what a TLS context is made of: no session is resumed from one rule to another, because a row
that asks gives no tickets at all, and each handshake proves anew that its client is still accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["DEFAULT_SET", "DEPTH", "MOST_RULES", "MOST_TOLD_BYTES", "ClientAuth", "Forward", "Mode"]

Mode = Literal["off", "optional", "required"]
Forward = Literal["none", "certificate", "chain"]

DEFAULT_SET: Final = "default"
# Authorities between a client's certificate and the one that is trusted; company PKIs have one or two.
DEPTH: Final = 3
# Each costs a look in every handshake.
MOST_RULES: Final = 64
# What an upstream is told of its client, with each request: a chain of four RSA-4096 certificates in base64
# has 11 KB. TLS lets 100 KB of certificates in, and few services have room for more headers than this.
MOST_TOLD_BYTES: Final = 32_768


@dataclass(frozen=True, slots=True)
class ClientAuth:
    """Clients that reach one of `names` by one of `ports` (none: all) must, may or need not be known.

    trust: the set by which their certificates are verified. allow: which of those are let in (none: all), as
    clientrules.py reads them. depth: how many authorities may stand between. forward, facts: what the
    upstream is told: the certificate or its chain (RFC 9440), and single facts as X-Client-Cert-*.
    """

    mode: Mode = "required"
    names: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    trust: str = DEFAULT_SET
    allow: tuple[str, ...] = ()
    depth: int = DEPTH
    forward: Forward = "none"
    facts: bool = False

    @property
    def asks(self) -> bool:
        """Whether clients are asked for a certificate at all."""
        return self.mode != "off"

    @property
    def words(self) -> str:
        """Name it to people by what it is for."""
        names = ", ".join(self.names) or "every other name"
        return names + (f" (port {', '.join(map(str, self.ports))})" if self.ports else "")
