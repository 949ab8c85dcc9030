"""Trust sets as time goes by: what of one ends or has ended, is damaged or isn't there, told and measured.

Promises: each is told when it begins, at each start and reload too, and daily as long as it holds. Dates are
measured for every set that there is, up to a bound. Refuses to know how a set is judged (certstore), and who
is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from certstore import Finding, Store, StoreError, TrustSet
from tlsproxy import policy, policy_notices
from tlsproxy.observe.metrics import Key

__all__ = ["TrustKeeper"]

_AGAIN: Final = timedelta(seconds=policy_notices.AGAIN_LEAST_S)
_DATES: Final = ("tlsproxy_trust_not_before_timestamp_seconds", "tlsproxy_trust_not_after_timestamp_seconds")
_Life = tuple[datetime, datetime]


class TrustKeeper:
    """Looks at one store's trust sets, a turn at a time; `measured` may be read by any thread."""

    def __init__(
        self,
        store: Store,
        needed: Iterable[str],
        clock: Callable[[], datetime],
        tell: Callable[[Finding], None],
    ) -> None:
        """Take a store, the sets that the configuration names, the time, and who is told."""
        self._store, self._clock, self._tell = store, clock, tell
        self._needed = frozenset(needed)
        self._told: dict[Finding, datetime] = {}
        self._measured: tuple[tuple[Key, float], ...] = ()

    def turn(self) -> None:
        """Look, in a worker thread, and tell."""
        self._measured = tuple(self._measure())
        now = self._clock()
        standing = tuple(islice(self._store.trust.standing(self._needed), policy_notices.TOLD_AT_ONCE))
        # what is over is forgotten: should it come back, it is told again
        self._told = {one: self._told[one] for one in standing if one in self._told}
        for finding in standing:
            before = self._told.get(finding)
            if before is None or abs(now - before) >= _AGAIN:
                self._told[finding] = now
                self._tell(finding)

    def measured(self) -> Iterator[tuple[Key, float]]:
        """Give what metrics tell of them, as the last turn has found it."""
        return iter(self._measured)

    def _measure(self) -> Iterator[tuple[Key, float]]:
        readable: set[str] = set()
        names = [one.name for one in self._store.trust.held]
        for name in names[: policy.METRIC_NAMES]:
            try:
                held = self._store.trust.read(name)
            except StoreError:
                continue
            if held is None:
                continue
            readable.add(name)
            for kind, lives in (("authority", _of_authorities(held)), ("list", _of_lists(held))):
                first = min(lives, key=lambda life: life[1], default=None)
                for family, at in zip(_DATES, first or (), strict=False):
                    yield (family, name, kind), at.timestamp()
        lost = set(names[: policy.METRIC_NAMES]) - readable
        yield ("tlsproxy_trust_missing",), float(len((self._needed & lost) | (self._needed - set(names))))


def _of_authorities(held: TrustSet) -> Iterator[_Life]:
    for anchor in held.anchors:
        yield anchor.not_valid_before_utc, anchor.not_valid_after_utc


def _of_lists(held: TrustSet) -> Iterator[_Life]:
    for crl in held.crls:
        if crl.next_update_utc is not None:
            yield crl.last_update_utc, crl.next_update_utc
