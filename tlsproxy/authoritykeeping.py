"""The device's own authority as time goes by: made, renewed ahead of its end, told where it falls short.

Promises: what somebody may trust already changes by nobody's doing but a person's (`renewed_now`) or its own
end, and then with the same key; unless that is banned: then another one takes its place at once. Whatever is
made is on the disk before it is told, or signs anything. Refuses to know how a root is made (certstore), and
who is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

import trio

from certstore import Authority, Finding, Identity, NotFound, Store, StoreCorrupt, found
from certstore.identity import PATIENCE, plan_authority, uncovered_names
from certstore.issuers import deviceca
from tlsproxy.observe.audit import ITSELF, AuditLog

__all__ = ["AuthorityKeeper", "Tell", "audited", "authority_facts", "authority_to_json", "renewed_now"]

Tell: TypeAlias = Callable[[str | None, Mapping[str, object], Finding], None]
"""Hears, in a worker thread, what was done (for the audit log; None: nothing), facts of it, and the words."""
_WORDS_OF_NAMES = 12


def audited(audit: AuditLog, tell: Callable[[Finding], None]) -> Tell:
    """Have what was done written into the audit log, and `tell` called on the event loop."""

    def told(what: str | None, facts: Mapping[str, object], finding: Finding) -> None:
        if what is not None:
            audit.note(ITSELF, what, "done", **facts)
        trio.from_thread.run_sync(tell, finding)

    return told


class AuthorityKeeper:
    """Looks after one store's authority, a turn at a time; in one thread at once."""

    def __init__(self, store: Store, tell: Tell) -> None:
        """Take the store, and who is told."""
        self._ca, self._tell = store.device_ca, tell
        self._missing_since: datetime | None = None
        self._told: tuple[str, ...] = ()

    def turn(self, wanted: Identity, now: datetime) -> Authority:
        """Give the authority for who is called so now; made anew where that is due. Raises StoreError."""
        current: Authority | None = None
        lost: Authority | None = None
        damage: StoreCorrupt | None = None
        try:
            current, lost = self._ca.current(), self._ca.lost()
        except StoreCorrupt as error:
            damage = error
        if lost is not None:
            return self._replace(lost, wanted, now)
        missing = uncovered_names(current, wanted) if current is not None else ()
        self._missing_since = min(self._missing_since or now, now) if missing else None
        is_exported = self._ca.is_exported
        names = plan_authority(current, wanted, now, self._missing_since, is_exported=is_exported)
        if current is not None and names is None:
            self._tell_missing(missing, now)
            return current
        made = deviceca.make(names or wanted.names, wanted, now, current)
        self._ca.keep(made)
        if damage is not None:
            self._tell("make_device_ca", authority_facts(made), found("device_ca_damaged", why=damage))
        self._tell_made(made, current if is_exported else None)
        return made

    def _replace(self, lost: Authority, wanted: Identity, now: datetime) -> Authority:
        """Have another one instead of one whose key is banned."""
        made = deviceca.make(wanted.names, wanted, now)
        self._ca.keep(made)
        told = found("device_ca_banned", names=_listed(made.names), before=lost.fingerprint)
        self._tell("make_device_ca", authority_facts(made), told)
        return made

    def _tell_made(self, made: Authority, before: Authority | None) -> None:
        what = "make_device_ca" if before is None else "renew_device_ca"
        self._tell(what, authority_facts(made), words_of(made, before))

    def _tell_missing(self, missing: tuple[str, ...], now: datetime) -> None:
        """Tell once of names that stay away from what it may sign for."""
        is_late = self._missing_since is not None and now - self._missing_since >= PATIENCE
        if missing and is_late and missing != self._told:
            self._told = missing
            told = found("device_ca_uncovered", names=_listed(missing))
            self._tell(None, {}, told)


def renewed_now(store: Store, wanted: Identity, now: datetime) -> Authority:
    """Make the authority anew for who is called so now, because a person says so; its key stays if it may.

    Raises NotFound where there is none, or StoreError.
    """
    current = store.device_ca.current()
    if current is None and store.device_ca.lost() is None:
        raise NotFound("device authority", "")
    made = deviceca.make(wanted.names, wanted, now, current)
    store.device_ca.keep(made)
    return made


def words_of(made: Authority, before: Authority | None) -> Finding:
    """Say it to a person; `before` is what somebody may trust already."""
    if before is None:
        return found("device_ca_made", names=_listed(made.names))
    until = f"{before.certificate.not_valid_after_utc:%Y-%m-%d}"
    return found("device_ca_renewed", names=_listed(made.names), not_after=until)


def authority_facts(authority: Authority) -> dict[str, object]:
    """Give what the audit log tells of an authority."""
    return {"names": list(authority.names), "sha256": authority.fingerprint, "spki": authority.spki}


def authority_to_json(authority: Authority, *, is_exported: bool) -> dict[str, object]:
    """Give an authority as it is shown."""
    certificate = authority.certificate
    return {
        "subject": certificate.subject.rfc4514_string(),
        "sha256": authority.fingerprint,
        "spki": authority.spki,
        "names": list(authority.names),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "exported": is_exported,
    }


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _WORDS_OF_NAMES
    return ", ".join(names[:_WORDS_OF_NAMES]) + (f" and {more} more" if more > 0 else "")
