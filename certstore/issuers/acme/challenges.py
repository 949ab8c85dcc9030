"""What an ACME authority asks as proof that a name is ours, and the one right answer to each kind.

Pure. Promises: an answer holds nothing secret: all of it is what the authority, and so anybody, may read on
the wire. Refuses to know who answers (a worker, a DNS server, a hook): that is an `Answering`.

Kinds: http-01 (RFC 8555 section 8.3), dns-01 (section 8.4), tls-alpn-01 (RFC 8737; for addresses RFC 8738),
dns-persist-01 (draft-ietf-acme-dns-persist).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

__all__ = ["Answer", "Answering", "Challenge"]


class Challenge(StrEnum):
    """The kinds of challenges that we can answer, by the names that authorities give them."""

    HTTP_01 = "http-01"
    TLS_ALPN_01 = "tls-alpn-01"
    DNS_01 = "dns-01"
    DNS_PERSIST_01 = "dns-persist-01"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be answered for one name while its authorization is pending.

    name: the identifier: a host name in A-label form and lower case without "*.", or an IP address as text.
    token: as the authority wrote it, base64url (checked: it becomes part of a path). key_authorization: token
    and the account key's thumbprint (RFC 8555 section 8.1); ASCII. expires: aware; nobody answers after it.
    """

    challenge: Challenge
    name: str
    token: str
    key_authorization: str
    expires: datetime

    @property
    def digest(self) -> bytes:
        """Give the SHA-256 of the key authorization: 32 bytes, the extension's value in tls-alpn-01."""
        return hashlib.sha256(self.key_authorization.encode("ascii")).digest()

    @property
    def txt(self) -> str:
        """Give the value of the TXT record at _acme-challenge.NAME in dns-01 (RFC 8555 section 8.4)."""
        return base64.urlsafe_b64encode(self.digest).rstrip(b"=").decode("ascii")


class Answering(Protocol):
    """Who makes answers be given: the workers (http-01, tls-alpn-01), or what writes DNS records."""

    async def publish(self, answers: Sequence[Answer]) -> None:
        """Come back only once everybody who may be asked gives these answers; a StoreError if nobody can."""
        ...

    async def withdraw(self, answers: Sequence[Answer]) -> None:
        """Give these answers no longer. Never raises for an answer that isn't given."""
        ...
