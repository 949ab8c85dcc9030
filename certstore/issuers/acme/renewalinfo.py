"""Renewal information: when an authority wants a certificate renewed (RFC 9773).

Pure. Promises: whatever an authority says, asking again lies between a minute and a day from now. Refuses to
know when it is renewed after all (the keeper's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from certstore import records
from certstore.extensions import read
from certstore.issuers.acme.jws import b64url

__all__ = ["LATEST", "SOONEST", "RenewalInfo", "certificate_id", "earliest"]

# RFC 9773 section 4.3.3: clients set reasonable limits to what Retry-After says, such as these
SOONEST: Final = timedelta(minutes=1)
LATEST: Final = timedelta(days=1)
UNSAID: Final = timedelta(hours=6)  # section 4.3.3: without a Retry-After


def certificate_id(certificate: x509.Certificate) -> str | None:
    """Give what an authority knows a certificate by (section 4.1); None for one without a key identifier."""
    identifier = read(certificate, x509.AuthorityKeyIdentifier)
    if identifier is None or not identifier.key_identifier:
        return None
    serial = certificate.serial_number
    der = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # the sign's byte stands in DER, too
    return f"{b64url(identifier.key_identifier)}.{b64url(der)}"


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """When an authority wants a certificate renewed; ask again at `again_at`. All are aware."""

    start: datetime
    end: datetime
    explanation: str | None
    again_at: datetime

    @classmethod
    def read(cls, content: bytes, again_at: datetime) -> RenewalInfo:
        """Read it. ValueError, also for a window that ends before it begins."""
        data = records.load(content)
        window = data.get("suggestedWindow")
        if not isinstance(window, dict):
            raise ValueError("no window is suggested")  # noqa: TRY004  all that is wrong is a ValueError
        start, end = records.moment(window, "start"), records.moment(window, "end")
        if end <= start:
            raise ValueError("the window ends before it begins")
        url = data.get("explanationURL")
        is_shown = isinstance(url, str) and url.isprintable() and url.startswith(("https://", "http://"))
        return cls(start, end, str(url)[:500] if is_shown else None, again_at)


def earliest(infos: Sequence[RenewalInfo]) -> RenewalInfo:
    """Join what is suggested for certificates that are renewed together: early enough for each of them."""
    first = min(infos, key=lambda info: info.start)
    end, again_at = min(info.end for info in infos), min(info.again_at for info in infos)
    return RenewalInfo(first.start, end, first.explanation, again_at)
