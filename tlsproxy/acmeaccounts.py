"""The accounts at ACME authorities, found or made when somebody enables; and how a person hears of a refusal.

Promises: what no other try mends, or what was most likely mistyped, is refused, and nothing is wanted then;
an authority that can't be reached now refuses nothing. Refuses to know who tries again (acmekeeping.py).

The client and its HTTP library are imported when somebody has enrolled: nobody else carries them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tlsproxy.acmetelling import Herald
from tlsproxy.acmewishes import Terms
from tlsproxy.errors import ProxyError

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment
    from certstore.issuers.acme.errors import AcmeError
    from certstore.issuers.acme.issuing import Issuer
    from certstore.issuers.acme.wishes import Server

__all__ = ["AcmeRefusedError", "find_accounts", "refused", "refusing"]

# What may pass, but is most likely a mistake of who enables: he is told, and no authority is asked for it.
_MISTAKEN: Final = frozenset({"acme_directory_missing", "acme_untrusted"})


class AcmeRefusedError(ProxyError):
    """An authority didn't do what a person has asked for; nothing has changed here."""

    def __init__(self, code: str, words: str, hint: str) -> None:
        super().__init__(code, words, hint)
        self.code, self.words, self._hint = code, words, hint

    def __str__(self) -> str:
        return self.words

    @property
    def hint(self) -> str:
        """Say what the finding says."""
        return self._hint


def refused(error: AcmeError) -> AcmeRefusedError:
    """Say it to a person."""
    return AcmeRefusedError(error.code, str(error), error.hint)


@contextmanager
def refusing() -> Iterator[None]:
    """Say to a person what an authority refuses within the block."""
    from certstore.issuers.acme.errors import AcmeError

    try:
        yield
    except AcmeError as error:
        raise refused(error) from error


async def find_accounts(
    issuer: Issuer, enrolment: Enrolment, terms: Terms, herald: Herald
) -> dict[Server, AcmeError]:
    """Find or make the account at each authority; gives those that can't be reached now, and why.

    Raises AcmeRefusedError or StoreError.
    """
    from certstore.issuers.acme.errors import AcmeError
    from certstore.issuers.acme.wishes import Progress, Step

    missed: dict[Server, AcmeError] = {}
    try:
        for server in enrolment.servers:
            herald.step(Progress(Step.ACCOUNT, enrolment.names), enrolment, server)
            try:
                await terms.register(issuer, server)
            except AcmeError as error:
                if error.is_lasting or error.code in _MISTAKEN:
                    raise refused(error) from error
                missed[server] = error
    finally:
        herald.quiet()
    return missed
