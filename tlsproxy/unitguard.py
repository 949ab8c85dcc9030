"""The guard at a start: a store that was copied here from another unit gets a new identity of its own.

Promises: before the first client is served; never touches what customer, ACME or factory brought; what was
concluded is written down only when it is carried out, so that a start which fails is followed by another try.
Refuses to know what tells a copy (certstore/unit.py), and where ids are read (hardware.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress

import trio

from certstore import (
    Finding,
    Receipt,
    Refusal,
    Registration,
    Seen,
    Slot,
    Source,
    State,
    Store,
    StoreError,
    Verdict,
    found,
    judge_unit,
)
from tlsproxy.caretaker import wait_random_ready
from tlsproxy.errors import ProxyError

__all__ = ["UnitGuard"]

Look = Callable[[], tuple[Seen, tuple[Finding, ...]]]


class UnitGuard:
    """Looks once, at a start. `standing`: what is to be told for as long as it is so; for any thread."""

    def __init__(
        self, store: Store, look: Look, renew: Callable[[], Receipt], tell: Callable[[Finding], None]
    ) -> None:
        """Take the store, what reads ids, what makes a new identity, and who is told; in a worker thread."""
        self._store, self._look, self._renew, self._tell = store, look, renew, tell
        self._registration = Registration(store.path)
        self._inherited: frozenset[str] = frozenset()
        self._troubles: tuple[Finding, ...] = ()

    @property
    def standing(self) -> tuple[Finding, ...]:
        """Give what is not as it should be, as things are now."""
        return (*self._troubles, *self._of_keys())

    async def settle(self) -> None:
        """Compare, make a new identity where there must be one, and remember."""
        verdict = await trio.to_thread.run_sync(self._judge)
        if verdict.is_copy:
            await wait_random_ready()
        await trio.to_thread.run_sync(self._act, verdict)

    def _judge(self) -> Verdict:
        known = self._registration.load()
        if self._registration.damaged is not None:
            self._tell(found("unit_record_damaged", why=self._registration.damaged))
        seen, self._troubles = self._look()
        own, others = self._keys(own=True), self._keys(own=False)
        if self._registration.damaged is not None:
            own = frozenset()  # nobody knows what came first
        return judge_unit(known, seen, own, others, secrets.token_hex(16))

    def _act(self, verdict: Verdict) -> None:
        self._inherited = verdict.unit.inherited
        if verdict.is_copy:
            why = self._why_not_renewed()
            if why is not None:
                self._troubles = (*self._troubles, found("clone_not_settled", why=why))
            else:
                self._tell(found("cloned_image"))
                self._forget_requests()
        if verdict.machine_changed:
            self._tell(found("machine_id_changed"))
        for finding in self.standing:
            self._tell(finding)
        if not self._is_barred and not any(one.code == "clone_not_settled" for one in self._troubles):
            self._remember(verdict)

    def _remember(self, verdict: Verdict) -> None:
        try:
            self._registration.save(verdict.unit)
        except StoreError as error:
            self._tell(found("store_read_only", why=error))

    def _forget_requests(self) -> None:
        """Let no two units have a key that is yet to be certified, or an account with an authority."""
        try:
            if self._store.factory.forget_request():
                self._tell(found("factory_request_foreign"))
            if gone := self._store.requests.forget():
                ids = ", ".join(request.id for request in gone)
                self._tell(found("requests_foreign", count=len(gone), ids=ids))
            if self._store.forget_enrolment():
                self._tell(found("acme_account_foreign"))
        except StoreError as error:
            self._troubles = (*self._troubles, found("clone_not_settled", why=error))

    def _why_not_renewed(self) -> str | None:
        try:
            receipt = self._renew()
        except (StoreError, ProxyError, Refusal) as error:
            return str(error)
        if receipt.state is State.REFUSED:
            return "; ".join(finding.words for finding in receipt.findings if finding.is_error)
        return None

    @property
    def _is_barred(self) -> bool:
        return any(finding.code == "store_read_only" for finding in self._store.recovered)

    def _keys(self, *, own: bool) -> frozenset[str]:
        slots = [slot for slot in self._store.slots() if (slot.source is Source.GENERATED) == own]
        return frozenset(spki for slot in slots for spki in self._spkis(slot))

    def _spkis(self, slot: Slot) -> Iterator[str]:
        for id_ in slot.bundles:
            with suppress(StoreError):
                yield self._store.meta(id_).spki

    def _of_keys(self) -> Iterator[Finding]:
        for slot in self._store.slots() if self._inherited else ():
            if self._inherited.isdisjoint(self._spkis(slot)):
                continue
            if slot.source is Source.GENERATED:
                yield found("image_with_key")
            else:
                yield found("foreign_keys", names=", ".join(slot.names) or "no names", source=slot.source)
