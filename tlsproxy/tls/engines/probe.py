"""Probes: clients in memory, for the gate. Each is an engine of the other side.

Two kinds of client stand for all: what scripts and programs use (OpenSSL with its defaults) and what
browsers offer, which is less. Neither verifies anything: whether a name is covered and an issuer trusted is
not TLS's to find out here. The second takes pyOpenSSL, which is imported at its first use: a worker that
serves by `system` never makes one.
"""

from __future__ import annotations

import ssl
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from tlsproxy.tls.engines.system import SystemEngine

if TYPE_CHECKING:
    from tlsproxy.tls.engines.bundled import BundledEngine

__all__ = ["Probe", "Version", "browser_probe", "hybrid_probe", "program_probe", "returning"]

Probe: TypeAlias = "SystemEngine | BundledEngine"

# What Chromium offers (tests/vectors/hello has its hello).
_BROWSER_SIGNATURES = (
    "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256:rsa_pkcs1_sha256:ecdsa_secp384r1_sha384:"
    "rsa_pss_rsae_sha384:rsa_pkcs1_sha384:rsa_pss_rsae_sha512:rsa_pkcs1_sha512"
)
_BROWSER_GROUPS = "X25519MLKEM768:X25519:P-256:P-384"


class Version(IntEnum):
    """The TLS version that a probe insists on, with its number on the wire (RFC 8446 section 4.2.1)."""

    TLS12 = 0x0303
    TLS13 = 0x0304

    def __str__(self) -> str:
        return {0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}[self.value]


def program_probe(version: Version, server_name: str | None, alpn: tuple[bytes, ...] = ()) -> Probe:
    """Make a client as Python, curl and most programs are. ValueError for a name that it can't ask for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion(version)
    if alpn:
        context.set_alpn_protocols([name.decode("ascii") for name in alpn])
    return SystemEngine(context, server_side=False, server_name=server_name)


def browser_probe(version: Version, server_name: str | None, alpn: tuple[bytes, ...] = ()) -> Probe:
    """Make a client that offers the signatures and groups of browsers. ValueError as in `program_probe`."""
    from OpenSSL import SSL

    from tlsproxy.tls.engines.bundled import BundledEngine, set_groups

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    private: Any = SSL
    limit = getattr(private._lib, "SSL_CTX_set1_sigalgs_list", None)  # noqa: SLF001  pyOpenSSL has no method
    if limit is not None:
        limit(context._context, _BROWSER_SIGNATURES.encode())  # noqa: SLF001  likewise
    set_groups(context, _BROWSER_GROUPS)
    if alpn:
        context.set_alpn_protos(list(alpn))
    return BundledEngine(context, server_side=False, server_name=server_name)


def hybrid_probe(version: Version, server_name: str | None, alpn: tuple[bytes, ...] = ()) -> Probe:
    """Make a program as it is where its OpenSSL has ML-KEM, for policies that serve nobody else.

    ValueError as in `program_probe`.
    """
    from OpenSSL import SSL

    from tlsproxy.policy_tls import HYBRID_GROUPS
    from tlsproxy.tls.engines.bundled import BundledEngine, set_groups

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    set_groups(context, ":".join(HYBRID_GROUPS))
    if alpn:
        context.set_alpn_protos(list(alpn))
    return BundledEngine(context, server_side=False, server_name=server_name)


def returning(client: Probe) -> Probe:
    """Make a client that wants to resume the session of `client`, which has been given a ticket."""
    return client.returning()
