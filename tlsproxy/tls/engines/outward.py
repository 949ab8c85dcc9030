"""The client's side of TLS, towards services behind us: always by Python's own `ssl`, whoever serves clients.

Promises: TLS 1.2 at least; a certificate is verified by its chain, dates and name, or by a pin alone where
that is asked for; keys go in through a memfd. Refuses to know sockets, and which upstream it is.

Theory. Why not the engine that is configured: `ssl` has OpenSSL itself compare name or address (RFC 6125, no
common names) within the handshake, so a stranger never gets a Finished of ours, and no code of ours stands
between a certificate and its being believed. pyOpenSSL has no such check; service-identity would make one
after the handshake, at the cost of three more packages in every worker. What `bundled` has beyond it, hybrid
groups on an old system, matters for what strangers can record, and hardly between two processes of a device.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsproxy.errors import HandshakeError
from tlsproxy.policy_upstream import ALPN
from tlsproxy.terms import Terms
from tlsproxy.tls.engines.port import reason_of
from tlsproxy.tls.engines.system import SystemEngine, load_pem

__all__ = [
    "OutwardContext",
    "OutwardEngine",
    "UnusableTerms",
    "context_of",
    "in_words",
    "spki_of",
    "why_refused",
]

# x509_vfy.h: X509_V_ERR_*
_DATES: Final = {9: "is not valid yet", 10: "has expired"}
_NAMES: Final = {62, 63, 64}


class UnusableTerms(Exception):  # noqa: N818  says what they are
    """A file of the terms holds nothing that TLS could use; `why` in words of ours."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class OutwardEngine(SystemEngine):
    """One connection to a service."""

    __slots__ = ()

    @property
    def session(self) -> ssl.SSLSession | None:
        """What another connection could resume, as far as the service has given it by now."""
        return self._tls.session


class OutwardContext:
    """Makes connections on one set of terms; `context_of` makes it. roots: PEM, None for no chain."""

    __slots__ = ("_context", "_server_name")

    def __init__(self, server_name: str, roots: str | None, certificate: str, key: str) -> None:
        self._server_name = server_name
        context = self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.hostname_checks_common_name = False
        context.set_alpn_protocols(list(ALPN))
        if roots is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            # whatever stands in the file is believed: no root need be there, it may be the certificate itself
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                context.load_verify_locations(cadata=roots)
            except (ssl.SSLError, ValueError) as error:
                raise UnusableTerms(
                    f"no certificate can be read from its ca_file: {_words(error)}"
                ) from error
        if certificate:
            if "BEGIN ENCRYPTED" in key or "4,ENCRYPTED" in key:  # RFC 7468 section 11; RFC 1421
                raise UnusableTerms("its client key is encrypted: store it without a passphrase, mode 0600")
            try:
                load_pem(context, key.encode(), certificate.encode())
            except ssl.SSLError as error:
                why = f"its client certificate and key can't be used: {_words(error)}"
                raise UnusableTerms(why) from error

    def connect(self, session: ssl.SSLSession | None = None) -> OutwardEngine:
        """Begin a connection, which resumes `session` where the service still knows it."""
        return OutwardEngine(
            self._context, server_side=False, server_name=self._server_name or None, session=session
        )


def context_of(terms: Terms) -> OutwardContext:
    """Make the context for these terms. Raises UnusableTerms."""
    roots = terms.roots if terms.by == "chain" else None
    return OutwardContext(terms.server_name, roots, terms.certificate, terms.key)


def why_refused(error: HandshakeError) -> tuple[str, str]:
    """Say why a handshake failed: one of tls, untrusted, expired, name; and words."""
    cause = error.__cause__
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return "tls", in_words(error.reason)
    code = cause.verify_code
    if code in _DATES:
        return "expired", f"its certificate, or an authority's, {_DATES[code]}"
    if code in _NAMES:
        return "name", "its certificate is for another name"
    return "untrusted", f"its certificate isn't trusted: {cause.verify_message}"


def in_words(reason: str) -> str:
    """Say a reason of the engine port, whose alerts are a client's there and a service's here."""
    alert = reason.removeprefix("client_alert_")
    if alert != reason:
        return f"it ends the handshake with the alert {alert}"
    return f"no TLS connection comes about: {reason}"


def spki_of(der: bytes | None) -> str:
    """Give SHA-256 of a certificate's SubjectPublicKeyInfo in hex, "" where it can't be read."""
    if der is None:
        return ""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return ""
    return hashlib.sha256(spki).hexdigest()


def _words(error: Exception) -> str:
    return reason_of(error.reason) if isinstance(error, ssl.SSLError) else str(error)
