"""Identity: when the device makes its own certificate anew.

Promises: a pure decision. The key stays, so that who pinned it is not locked out. A name that went away (an
interface that is down, a host name of yesterday) is never a reason: only a name by which the device can be
reached now, and its certificate doesn't cover, is one, and only when it has been so for a while.
Refuses to know: how names are found, how a certificate is made (issuers/selfsigned.py), who wakes to ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from certstore.bundle import Bundle, PrivateKey
from certstore.firstboot import BUILD_DATE
from certstore.issuers.selfsigned import Identity
from certstore.names import covers

__all__ = ["PATIENCE", "Cause", "Reissue", "due_at", "missing_names", "plan"]

# DHCP, a cable that is moved, a new host name on its way through the system: within ten minutes they settle.
PATIENCE: Final = timedelta(minutes=10)
# At a third of its life (132 of 397 days) there are many chances left, and a device that lay in a box wakes
# in time.
DUE_SHARE: Final = 3


class Cause(StrEnum):
    """Why a certificate is made."""

    FIRST = "first"
    ENDING = "ending"
    NOT_BEGUN = "not_begun"
    NAME_MISSING = "name_missing"


@dataclass(frozen=True, slots=True)
class Reissue:
    """What to make: for this identity, with this key (None: a new one is to be made), and why."""

    identity: Identity
    key: PrivateKey | None
    cause: Cause

    def __repr__(self) -> str:
        return f"Reissue({self.identity}, {self.cause})"


def plan(
    current: Bundle | None, wanted: Identity, now: datetime, missing_since: datetime | None
) -> Reissue | None:
    """Say what certificate to make now, or None.

    `missing_since` is when a wanted name was first seen missing from the current certificate
    (`missing_names`), None while none is; the caller keeps it. A new certificate holds the wanted names
    only: those that went away are let go when there is another reason.
    """
    if current is None:
        return Reissue(wanted, None, Cause.FIRST)
    if now >= due_at(current):
        return Reissue(wanted, current.key, Cause.ENDING)
    if (
        BUILD_DATE <= now < current.not_before
    ):  # it was made by a clock that ran ahead, and was set right since
        return Reissue(wanted, current.key, Cause.NOT_BEGUN)
    if missing_since is not None and missing_names(current, wanted) and now - missing_since >= PATIENCE:
        return Reissue(wanted, current.key, Cause.NAME_MISSING)
    return None


def due_at(current: Bundle) -> datetime:
    """Give the time from which on less than a third of the certificate's life remains."""
    return current.not_after - (current.not_after - current.not_before) / DUE_SHARE


def missing_names(current: Bundle, wanted: Identity) -> tuple[str, ...]:
    """Give the wanted names that the current certificate doesn't cover, sorted."""
    return tuple(n for n in wanted.names if not any(covers(pattern, n) for pattern in current.names))
