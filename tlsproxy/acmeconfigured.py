"""The ACME enrolment that the configuration wants, so that a device comes out of the box with it.

Promises: what a person has said goes before it: whoever enables ACME has what he wanted, who disables it has
none, until the customer's data are reset. What came of the configuration follows it, also to nothing. Files
are read when they are needed, and what is wrong with them is told, once, and tried again. Refuses to know
when something is due (acmekeeping.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from certstore import Finding, found
from tlsproxy.acmebooks import Books
from tlsproxy.acmewishes import Terms
from tlsproxy.config.acme import enrolment_of
from tlsproxy.config.values import EnrolmentConfig
from tlsproxy.namedfiles import read_named
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment
    from certstore.issuers.acme.issuing import Issuer
    from certstore.issuers.acme.wishes import Server

__all__ = ["Configured"]

_log = logger("acme")
_MOST_BYTES = 100_000
# Where the authority has let go of the account, a new one is made: nobody is there to enable it again.
_GONE = frozenset({"acme_account_unknown", "acme_account_ended"})


@dataclass(slots=True)
class Configured:
    """What the configuration wants; None: nothing. On the event loop."""

    config: EnrolmentConfig | None
    trouble: Finding | None = None
    """Why it can't be had as it stands there."""
    news: Finding | None = None
    """The same, where it wasn't told before."""
    _told: set[Finding] = field(default_factory=set)

    async def follow(self, books: Books, now: datetime) -> Enrolment | None:
        """Want it from now on, or no more; gives what is wanted anew. Raises StoreError."""
        self.news = None
        if self.config is None and not books.is_enrolled:
            return None
        enrolments = (await books.open()).enrolments
        before = enrolments.enrolment
        if before is not None and not before.is_configured:
            return None
        if self.config is None:
            if before is not None:
                await books.withdraw(is_declined=False)
            return None
        if enrolments.is_declined:
            return None
        wish = await self._wish(self.config, now)
        if wish is None or (before is not None and replace(before, since=wish.since) == wish):
            return None
        await books.enrol(wish)
        return wish

    async def register(self, issuer: Issuer, enrolment: Enrolment, server: Server, last_code: str) -> None:
        """Find or make the account at an authority, where there is none yet. Raises AcmeError, StoreError."""
        from certstore.issuers.acme.errors import AcmeError

        if not enrolment.is_configured or self.config is None:
            return
        account = issuer.account(server.directory)
        if account is None or account.url is None or last_code in _GONE:
            config = self.config
            try:
                terms = await in_thread(lambda: _terms(config, server.directory))
            except (OSError, ValueError) as error:
                raise AcmeError.lasting("acme_configuration_unusable", why=error) from error
            await terms.register(issuer, server)

    async def _wish(self, config: EnrolmentConfig, now: datetime) -> Enrolment | None:
        from certstore.issuers.acme.roots import roots_in

        def read() -> Enrolment:
            files = (config.ca_file, config.fallback_ca_file)
            first, other = (roots_in(_read(file)) if file is not None else "" for file in files)
            return enrolment_of(config, first, other, now)

        try:
            wish = await in_thread(read)
        except (OSError, ValueError) as error:
            self.trouble = found("acme_configuration_unusable", why=error)
            self.news = None if self.trouble in self._told else self.trouble
            self._told.add(self.trouble)
            return None
        self.trouble = None
        return wish


def _terms(config: EnrolmentConfig, directory: str) -> Terms:
    """Read what is said to this authority; the file of the other one may be missing."""
    from certstore.issuers.acme.wishes import Binding, mac_key

    kid, file = config.eab_kid, config.eab_key_file
    if directory != config.directory:
        kid, file = config.fallback_eab_kid, config.fallback_eab_key_file
    bindings = {directory: Binding(kid, mac_key(_read(file).strip()))} if file is not None else {}
    return Terms(config.contacts, is_agreed=config.agree_tos, bindings=bindings)


def _read(path: Path) -> str:
    return read_named(path, _MOST_BYTES).decode("utf-8", "replace")
