"""Identity: when the device makes its own certificate anew.

Promises: a pure decision. The key stays, so that who pinned it is not locked out. A name that went away (an
interface that is down, a host name of yesterday) is never a reason: only a name by which the device can be
reached now, and its certificate doesn't cover, is one, and only when it has been so for a while.
Refuses to know: how names are found, how a certificate is made (issuers/), who wakes to ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from certstore.bundle import Bundle, PrivateKey
from certstore.firstboot import BUILD_DATE
from certstore.generation import BundleFacts
from certstore.issuers.deviceca import Authority
from certstore.issuers.selfsigned import Identity
from certstore.names import covers

__all__ = [
    "PATIENCE",
    "Cause",
    "Reissue",
    "due_at",
    "missing_names",
    "plan",
    "plan_authority",
    "uncovered_names",
]

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
    ISSUER = "issuer"
    """Another one is to issue it: the device's authority, a newer one, or none."""


@dataclass(frozen=True, slots=True)
class Reissue:
    """What to make: for this identity, with this key (None: a new one is to be made), and why."""

    identity: Identity
    key: PrivateKey | None
    cause: Cause

    def __repr__(self) -> str:
        return f"Reissue({self.identity}, {self.cause})"


def plan(
    current: Bundle | None,
    wanted: Identity,
    now: datetime,
    missing_since: datetime | None,
    authority: Authority | None = None,
) -> Reissue | None:
    """Say what certificate to make now, or None.

    `missing_since` is when a wanted name was first seen missing from the current certificate
    (`missing_names`), None while none is; the caller keeps it. A new certificate holds the wanted names
    only: those that went away are let go when there is another reason. `authority` is who is to issue it,
    None for nobody but itself; it must cover the wanted names.
    """
    if current is None:
        return Reissue(wanted, None, Cause.FIRST)
    if now >= due_at(current):
        return Reissue(wanted, current.key, Cause.ENDING)
    if (
        BUILD_DATE <= now < current.not_before
    ):  # it was made by a clock that ran ahead, and was set right since
        return Reissue(wanted, current.key, Cause.NOT_BEGUN)
    if _is_to_change_issuer(current, authority):
        return Reissue(wanted, current.key, Cause.ISSUER)
    if missing_since is not None and missing_names(current, wanted) and now - missing_since >= PATIENCE:
        return Reissue(wanted, current.key, Cause.NAME_MISSING)
    return None


def plan_authority(
    current: Authority | None,
    wanted: Identity,
    now: datetime,
    missing_since: datetime | None,
    *,
    is_exported: bool,
) -> tuple[str, ...] | None:
    """Say for which names to make the device's authority anew, with the same key if there is one; or None.

    Once it was given to somebody (`is_exported`) it stays as it is, whatever the device is called since:
    clients refuse a whole leaf for one name that their root doesn't cover, so only a person can decide to
    import another. Before its end it is renewed, for all that it covered and what is wanted.
    `missing_since` is as `plan` takes it, of names that it doesn't cover.
    """
    if current is None:
        return wanted.names
    begins, ends = current.certificate.not_valid_before_utc, current.certificate.not_valid_after_utc
    if now >= ends - (ends - begins) / DUE_SHARE:
        return tuple(sorted({*wanted.names, *current.names}))
    if BUILD_DATE <= now < begins:  # as in `plan`
        return tuple(sorted({*wanted.names, *current.names}))
    if missing_since is not None and now - missing_since >= PATIENCE and not is_exported:
        return wanted.names
    return None


def uncovered_names(current: Authority, wanted: Identity) -> tuple[str, ...]:
    """Give the wanted names that the authority may not sign for, sorted."""
    return tuple(name for name in wanted.names if not current.covers(name))


def _is_to_change_issuer(current: Bundle, authority: Authority | None) -> bool:
    if authority is None:
        return not current.self_signed
    made_at = authority.certificate.not_valid_before_utc
    return not authority.issued(current.leaf) or current.not_before < made_at


def due_at(current: Bundle | BundleFacts) -> datetime:
    """Give the time from which on less than a third of the certificate's life remains."""
    return current.not_after - (current.not_after - current.not_before) / DUE_SHARE


def missing_names(current: Bundle, wanted: Identity) -> tuple[str, ...]:
    """Give the wanted names that the current certificate doesn't cover, sorted."""
    return tuple(n for n in wanted.names if not any(covers(pattern, n) for pattern in current.names))
