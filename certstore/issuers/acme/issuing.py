"""The issuer: certificates and accounts of ACME authorities, from asking to holding them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import httpx2
from cryptography import x509

from certstore.bundle import PrivateKey
from certstore.findings import Finding
from certstore.issuers.acme.wishes import Answerers, Binding, Issued, Server, Tell, Wish

__all__ = ["Account", "Directory", "Issuing", "RenewalInfo", "Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is handed in: the time (aware), a number of [0, 1), and the way to an authority (for tests)."""

    clock: Callable[[], datetime]
    random: Callable[[], float]
    transport: Callable[[Server], httpx2.AsyncBaseTransport] | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """An account at one authority, as it lies on the disk; its key stays there."""

    id: str
    directory: str
    url: str
    spki: str
    contacts: tuple[str, ...]
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Directory:
    """What an authority says of itself (RFC 8555 section 7.1.1); profiles by name, with their words."""

    terms: str | None
    website: str | None
    profiles: Mapping[str, str]
    binding_required: bool
    has_renewal_info: bool


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """When an authority wants a certificate renewed (RFC 9773); ask again at `again_at`. All are aware."""

    start: datetime
    end: datetime
    explanation: str | None
    again_at: datetime


class Issuing(Protocol):
    """What `Issuer(root, disk, surroundings)` gives. All async methods raise AcmeError and StoreError."""

    accounts: Mapping[str, Account]

    def load(self) -> tuple[Finding, ...]:
        """Read accounts and orders from the disk; tells what can't be read. Before anything else."""
        ...

    def account(self, directory: str) -> Account | None:
        """Give the account at this directory, if there is one."""
        ...

    async def directory(self, server: Server) -> Directory:
        """Ask what the authority offers."""
        ...

    async def register(
        self,
        server: Server,
        *,
        contacts: Sequence[str] = (),
        terms_agreed: bool = False,
        binding: Binding | None = None,
    ) -> Account:
        """Find this device's account there, or make one; idempotent, and killed anywhere safe to repeat.

        Contacts are mail addresses without "mailto:". AcmeError acme_terms_unagreed, acme_binding_needed.
        """
        ...

    async def issue(self, server: Server, wish: Wish, answerers: Answerers, tell: Tell = ...) -> Issued:
        """Bring an order for this wish to its end: a new one, or the one that the disk remembers.

        Cancellable anywhere, as it may be killed anywhere: the next call goes on. Never waits longer than the
        order lives; the caller may give a deadline of its own.
        """
        ...

    async def taken(self, issued: Issued) -> None:
        """Forget an order whose certificate the store has."""
        ...

    async def forget(self, keep: Iterable[Wish] = ()) -> None:
        """Forget orders for other wishes than these."""
        ...

    async def renewal_info(self, server: Server, certificate: x509.Certificate) -> RenewalInfo | None:
        """Ask when to renew (no account needed); None where the authority doesn't say."""
        ...

    async def revoke(
        self, server: Server, certificate: x509.Certificate, *, key: PrivateKey | None = None, reason: int = 0
    ) -> None:
        """Revoke by the account, or by the certificate's own key; done already counts as done."""
        ...

    async def roll_over(self, server: Server) -> Account:
        """Give the account a new key; killed anywhere, the next request finds out which one is known."""
        ...

    async def deactivate(self, server: Server) -> None:
        """End the account at the authority, and forget it here with its key and orders."""
        ...
