"""The engine port: what we ask of a TLS library, and nothing about which one it is.

An engine is one server-side TLS connection without a socket: ciphertext in by `feed`, out by `take`. Both
engines are held to this page by the same contract tests. Failures come in our own words (`HandshakeError`,
`TLSBroken`) with reason codes that are the same for both.

Theory. OpenSSL keeps three things that outlive a call: ciphertext that was fed and not yet read, plaintext
of a record that was read in part, and ciphertext to send. A caller must therefore ask `read` until it says
None before it waits for the socket, and send what `take` gives before it waits at all; else both ends wait
for each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tlsproxy.errors import Fault, ProxyError
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.signatures import UNKNOWN

if TYPE_CHECKING:
    from tlsproxy.tls.choice import Curve

__all__ = [
    "Context",
    "ContextError",
    "Data",
    "Engine",
    "EngineLacks",
    "TLSBroken",
    "TLSFacts",
    "reason_of",
    "refusal_of",
]

Data = bytes | bytearray | memoryview


class TLSBroken(ProxyError):  # noqa: N818  says what has become of the connection
    """A connection can't go on after its handshake: garbage, a forged record, or the client's fatal alert."""

    code = "tls_broken"
    fault = Fault.CLIENT

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the TLS connection broke: {self.reason}"


class ContextError(ProxyError):
    """A TLS library won't serve a bundle: the key is too small for it, or doesn't fit the certificate."""

    code = "context_refused"

    def __init__(self, bundle_id: str, engine_name: str, reason: str) -> None:
        super().__init__(bundle_id, engine_name, reason)
        self.bundle_id = bundle_id
        self.engine_name = engine_name
        self.reason = reason

    def __str__(self) -> str:
        return f"the {self.engine_name} TLS engine refuses bundle {self.bundle_id[:16]}: {self.reason}"


class EngineLacks(ProxyError):  # noqa: N818  says what is missing
    """The engine that was asked for can't speak TLS as the policy wants it: nobody could connect."""

    code = "engine_lacks_groups"

    def __init__(self, library: str, groups: tuple[str, ...]) -> None:
        super().__init__(library, groups)
        self.library, self.groups = library, groups

    def __str__(self) -> str:
        return f"the TLS engine system ({self.library}) has none of the groups {', '.join(self.groups)}"

    @property
    def hint(self) -> str:
        """Say what to do."""
        return 'take engine = "bundled" or "auto", or a policy with classical groups too'


@dataclass(frozen=True, slots=True)
class TLSFacts:
    """What was negotiated. group is None where the library can't say, alpn where the client offered none.

    signature: what our side signed with, in the words of tls/signatures.py.
    """

    version: str  # "TLSv1.2" or "TLSv1.3"
    cipher: str  # OpenSSL's name of the suite
    group: str | None
    alpn: str | None
    resumed: bool
    signature: str = UNKNOWN


class Engine(Protocol):
    """One TLS connection, server side. Not to be called by two threads at once."""

    def feed(self, data: Data) -> None:
        """Hand in bytes that came from the client; they are copied."""
        ...

    def handshake(self) -> bool:
        """Go on with the handshake: True when it is done, False when it wants more bytes of the client.

        Raises HandshakeError; `take` then still has the alert that tells the client.
        """
        ...

    def read(self, size: int) -> bytes | None:
        """Return up to `size` bytes of plaintext, None when more must be fed, b"" after close_notify.

        Raises TLSBroken; `take` may then have an alert.
        """
        ...

    def write(self, data: Data) -> None:
        """Encrypt all of `data`, in as many records as it takes. Raises TLSBroken."""
        ...

    def take(self) -> bytes:
        """Return all ciphertext that waits to be sent, b"" where there is none."""
        ...

    def shut(self) -> None:
        """Queue our close_notify: no more writing, reading goes on. Idempotent, never raises."""
        ...

    def facts(self) -> TLSFacts:
        """Say what was negotiated; only after the handshake."""
        ...

    def client_chain(self) -> tuple[bytes, ...]:
        """Give the client's verified chain in DER, the leaf first; () where it showed none.

        Only after the handshake, which was a full one: contexts that ask resume nothing.
        """
        ...


class Context(Protocol):
    """One bundle under one policy, ready to serve. Never changed once made; any thread may accept."""

    @property
    def bundle_id(self) -> str:
        """The bundle that is served."""
        ...

    @property
    def policy(self) -> TLSPolicy:
        """How it is served."""
        ...

    @property
    def curve(self) -> Curve | None:
        """The curve of its key, by which a client is asked whether it can verify it; None: no EC key."""
        ...

    @property
    def engine_name(self) -> str:
        """Which library this is: "system" or "bundled"."""
        ...

    @property
    def rule(self) -> ClientAuth | None:
        """By which rule it asks its clients for certificates; None where it doesn't."""
        ...

    def accept(self) -> Engine:
        """Begin a connection."""
        ...


# OpenSSL's reason strings change between releases (an alert was "sslv3 alert ..." until 3.1 and is "ssl/tls
# alert ..." since), so codes are made from the part that doesn't. Reasons that are not listed keep their own
# words.
_REASONS = {
    "unsupported_protocol": "unsupported_version",
    "version_too_low": "unsupported_version",
    "wrong_version_number": "unsupported_version",
    "no_protocols_available": "unsupported_version",
    "no_shared_groups": "no_shared_group",
    "no_suitable_groups": "no_shared_group",
    "no_suitable_key_share": "no_shared_group",
    "no_suitable_signature_algorithm": "no_shared_signature_algorithm",
    "no_shared_signature_algorithms": "no_shared_signature_algorithm",
    "missing_sigalgs_extension": "missing_extension",
    "missing_supported_groups_extension": "missing_extension",
    "peer_did_not_return_a_certificate": "client_certificate_missing",
}
# x509_vfy.h. OpenSSL tells the client by the alert that fits (RFC 8446 section 6.2).
_VERIFYING = {
    2: "client_certificate_unknown_authority",
    3: "client_certificate_without_list",
    9: "client_certificate_not_yet_valid",
    10: "client_certificate_expired",
    12: "client_certificate_list_ended",
    18: "client_certificate_unknown_authority",
    19: "client_certificate_unknown_authority",
    20: "client_certificate_unknown_authority",
    21: "client_certificate_unknown_authority",
    23: "client_certificate_revoked",
    26: "client_certificate_wrong_purpose",
}
_ALERT = re.compile(r"alert_(.+)$")


def refusal_of(verify_code: int) -> str:
    """Make our code of OpenSSL's result of verifying a client's certificate."""
    return _VERIFYING.get(verify_code, "client_certificate_refused")


def reason_of(text: str | None) -> str:
    """Make our code of an OpenSSL reason, as a constant (NO_SHARED_CIPHER) or in words.

    An alert that the client sent becomes `client_alert_<name>`; None, where OpenSSL gave no reason, `broken`.
    """
    if not text:
        return "broken"
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    alert = _ALERT.search(plain)
    if alert is not None:
        return f"client_alert_{alert[1]}"
    return _REASONS.get(plain, plain)
