"""A visitor: a client in memory that looks at what somebody's server shows, and judges nothing.

pyOpenSSL again, for what `ssl` can't tell before Python 3.13: the chain as it was sent, the group, and a
stapled OCSP answer. Unlike the gate's probes it takes whatever a server has, keys that are too weak included:
to be told is what it was sent for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tlsproxy.tls.engines.bundled import BundledEngine

if TYPE_CHECKING:
    from tlsproxy.tls.engines.probe import Version

__all__ = ["Visitor"]


class Visitor(BundledEngine):
    """One look at a server by one TLS version; see the port for how it is driven."""

    __slots__ = ("_asked", "_staples")

    def __init__(self, version: Version, server_name: str | None) -> None:
        """Take the name to ask for; None for an address, which no hello may hold (RFC 6066 section 3)."""
        staples: list[bytes] = []
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_NONE)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
        context.set_alpn_protos([b"http/1.1"])
        context.set_ocsp_client_callback(lambda _tls, staple, _data: _kept(staples, staple))
        asked: list[bytes] = []
        context.set_info_callback(lambda tls, _where, _value: _heard(asked, tls.get_state_string()))
        super().__init__(context, server_side=False, server_name=server_name)
        self._staples, self._asked = staples, asked
        self._tls.request_ocsp()

    def chain_der(self) -> tuple[bytes, ...]:
        """Give the certificates that were shown, in the order in which they came.

        Raises ValueError where one of them is no certificate to today's eyes.
        """
        shown = self._tls.get_peer_cert_chain(as_cryptography=True) or ()
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in shown)

    def has_staple(self) -> bool:
        """Whether an OCSP answer came along."""
        return any(self._staples)

    def is_asked(self) -> bool:
        """Whether the server has asked for a client's certificate, as far as the handshake has come."""
        return bool(self._asked)


def _heard(asked: list[bytes], state: bytes) -> None:
    """Note that OpenSSL has read a CertificateRequest (ssl_stat.c); it has no function that says so."""
    if b"read server certificate request" in state:
        asked.append(state)


def _kept(staples: list[bytes], staple: bytes) -> bool:
    """Keep what came, and go on with the handshake whatever it is."""
    staples.append(staple)
    return True
