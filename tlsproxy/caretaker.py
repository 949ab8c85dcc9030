"""What must be done as time goes by: the device's own certificate, rows that expire, what ends, and pruning.

Promises: at first start the device gets a key and a certificate of its own, but never before the kernel's
random generator is ready; later its certificate is re-issued before it ends, and when a name or address has
been missing from it for ten minutes, always with the same key, unless that was banned. Whatever fails here is
told once and tried again at the next turn; what is served stays. Refuses to know how a change is made
(certstore) and shown (observe).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Protocol

import trio

from certstore import (
    Authority,
    Bundle,
    Finding,
    Generation,
    Identity,
    Publisher,
    Receipt,
    Refusal,
    Source,
    Store,
    StoreError,
    StoreExhausted,
    firstboot,
    found,
)
from certstore.identity import missing_names, plan
from certstore.issuers import deviceca, selfsigned
from tlsproxy import policy
from tlsproxy.errors import ThreadError
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread, in_thread_at_last

_log = logger("caretaker")


class Publishing(Publisher, Protocol):
    """What puts generations into effect, as far as a caretaker must know it (workers/publishing.py)."""

    @property
    def serves(self) -> bool:
        """Whether everybody gets some certificate."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether that is one that lies in memory only."""
        ...

    def serve_in_memory(self, bundle: Bundle | None) -> str | None:
        """Serve a bundle without any store (None: the one in memory already); gives its fingerprint."""
        ...

    def unservable(self, ids: Iterable[str]) -> dict[str, str]:
        """Say which of these bundles no context can be made of, and why."""
        ...


class Caretaker:
    """Looks after one store. `first_start` comes once, before `run`."""

    def __init__(
        self,
        store: Store,
        publishing: Publishing,
        identity: Callable[[], Identity],
        clock: Callable[[], datetime],
        propose: Callable[[Bundle], Receipt],
    ) -> None:
        """Take what a turn needs; `propose` brings in our own bundle (in a worker thread) and tells of it."""
        self._store, self._publishing = store, publishing
        self._identity, self._clock, self._propose = identity, clock, propose
        self._missing_since: datetime | None = None
        self._told: set[str] = set()
        self._aside: frozenset[str] = frozenset()
        self._lost: set[str] = set()
        self._in_memory = False
        self.on_finding: Callable[[Finding], None] = lambda _finding: None
        self._hurry = trio.Event()
        self.look_at_expiry: Callable[[], None] = lambda: None
        """What tells, in a worker thread, of certificates that end (ladder.py)."""
        self.authority_for: Callable[[Identity, datetime], Authority | None] = lambda _identity, _now: None
        """Who issues the device's own certificate (authoritykeeping.py); None: it signs itself."""
        self.look_at_requests: Callable[[], None] = lambda: None
        """What cares, in a worker thread, for requests that wait (requestkeeping.py)."""
        self.look_at_trust: Callable[[], None] = lambda: None
        """What tells, in a worker thread, of trust sets that end or aren't there (trustkeeping.py)."""
        self.settle_unit: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """What sees, before anybody is served, that this store is this unit's (unitguard.py)."""
        self.on_moved: Callable[[Generation], None] = lambda _generation: None
        """Who hears, in a worker thread, of generations that nobody asked for."""
        self.in_use: Callable[[], frozenset[int]] = frozenset
        """Gives the generations that open connections were made with."""

    async def first_start(self) -> None:
        """Serve what the store says; where that is nothing, make the device's own identity first."""
        self._judge_clock()
        await in_thread_at_last(self._serve_active)
        await self.settle_unit()
        if not self._publishing.serves:
            await wait_random_ready()
            await in_thread_at_last(self._care)
        if not self._publishing.serves:
            await in_thread_at_last(self._serve_from_memory)

    async def run(self) -> None:
        """Look once a minute, and at once when a bundle is lost, until cancelled.

        At what ends also right away: a device may be switched on for seconds only.
        """
        await self._in_a_thread(self._look_at_ends)
        while True:
            with trio.move_on_after(policy.CARE_S):
                await self._reason_to_look()
            self._hurry = trio.Event()
            await wait_random_ready()
            await self._in_a_thread(self._care)

    async def _reason_to_look(self) -> None:
        """Return when somebody is in a hurry, or the store's folder has gone or come back."""
        while not self._hurry.is_set():
            with trio.move_on_after(policy.STORE_LOOK_S):
                await self._hurry.wait()
            if self._store.is_here is ("store" in self._told):
                return

    async def _in_a_thread(self, act: Callable[[], None]) -> None:
        try:
            await in_thread(act)
        except ThreadError as error:
            self._tell_once("thread", error)
        else:
            self._told.discard("thread")

    def lose(self, bundle: str, why: str) -> None:
        """Take note, on the event loop, that workers can't serve a bundle after all: others stand in."""
        active = self._store.active
        if active is None or bundle not in active.bundles():
            return  # of former times, or a worker's invention
        if bundle not in self._lost | self._aside:
            _log.error("bundle_unservable", bundle=bundle, why=why)
            self._lost.add(bundle)
            self._hurry.set()

    def hurry(self) -> None:
        """Have the next look come now; from a worker thread."""
        trio.from_thread.run_sync(self._look_soon)

    def _look_soon(self) -> None:
        self._hurry.set()  # on the event loop, which replaces it

    def _care(self) -> None:
        self._judge_clock()
        if self._is_store_here():
            self._care_for_store()
        self._look_at_ends()  # after whatever renews, and moves rows
        if self._in_memory and not self._publishing.in_memory:
            self._in_memory = False
            _log.info("memory_left")

    def _look_at_ends(self) -> None:
        self._attempt("expiry", self.look_at_expiry)
        self._attempt("trust", self.look_at_trust)

    def _is_store_here(self) -> bool:
        """Say it once when the folder is gone, and once when it is back; nothing in it is lost meanwhile."""
        if not self._store.is_here:
            if "store" not in self._told:
                self._told.add("store")
                self._tell(found("store_gone", path=self._store.path))
            return False
        if "store" in self._told:
            self._told.discard("store")
            _log.info("store_back", path=str(self._store.path))
        return True

    def _care_for_store(self) -> None:
        self._attempt("set_aside", self._set_aside_what_is_lost)
        self._attempt("identity", self._care_for_identity)
        self._attempt("aside", self._look_again_at_what_is_aside)
        self._attempt("prove", partial(self._prove, policy.PROVED_AT_ONCE))
        self._attempt("refresh", self._refresh)
        self._attempt("requests", self.look_at_requests)
        self._attempt("prune", self._prune)

    def _prune(self) -> None:
        active, keep = self._store.active, policy.GENERATIONS_KEPT
        newest = active.number if active is not None else 0
        old = frozenset(number for number in self.in_use() if number < newest - keep)
        self._store.prune(keep, old)

    def _judge_clock(self) -> None:
        """Say it once when the clock can't be right, and once when it is set."""
        if not self._store.clock_plausible():
            if "clock" not in self._told:
                self._told.add("clock")
                _log.warning(
                    "clock_implausible", now=self._clock().isoformat(), hint="set the clock; expiry waits"
                )
        elif "clock" in self._told:
            self._told.discard("clock")
            _log.info("clock_plausible", now=self._clock().isoformat())

    def _attempt(self, step: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001  the border: no turn that fails may end the proxy
            self._tell_once(step, error)
        else:
            self._told.discard(step)

    def _tell_once(self, step: str, error: Exception) -> None:
        if step not in self._told:
            self._told.add(step)
            _log.error("care_failed", step=step, code=_code_of(error), why=str(error))

    def _care_for_identity(self) -> None:
        now, wanted, current = self._clock(), self._identity(), self._own()
        authority = self.authority_for(wanted, now)
        if authority is not None:
            wanted = deviceca.reach(authority, wanted)
        missing = current is not None and missing_names(current, wanted)
        # a clock that was set back must not make the ten minutes years
        self._missing_since = min(self._missing_since or now, now) if missing else None
        due = plan(current, wanted, now, self._missing_since, authority)
        if due is None:
            return
        key, issue = due.key or selfsigned.new_key(), authority.issue if authority else selfsigned.issue
        self._propose(issue(due.identity, key, now))
        self._missing_since = None

    def _own(self) -> Bundle | None:
        """Give our own newest bundle that can be loaded, and whose key is still our own."""
        own = [slot for slot in self._store.slots() if slot.source is Source.GENERATED]
        for slot in sorted(own, key=lambda slot: slot.newness, reverse=True):
            for bundle_id in (slot.bundle, slot.last_confirmed):
                try:
                    if bundle_id is not None:
                        bundle = self._store.bundle(bundle_id)
                        if not self._store.is_banned(bundle.spki):
                            return bundle
                except StoreError as error:
                    _log.error("own_bundle_lost", bundle=bundle_id, code=error.code, why=str(error))
        return None

    def _refresh(self) -> None:
        generation = self._store.refresh()
        if generation is not None:
            self.on_moved(generation)
            _log.warning("rows_moved", generation=generation.number, cause=str(generation.cause))

    def _serve_active(self) -> None:
        generation: Generation | None = self._store.active
        if generation is None or generation.default is None:
            return
        try:
            self._publishing.prepare(generation)
            self._publishing.commit(generation)
        except Exception as error:  # noqa: BLE001  the border: no fault of a stored bundle may keep us from serving
            _log.error("generation_lost", generation=generation.number, why=str(error))
            self._serve_what_can_be_served()

    def _serve_what_can_be_served(self) -> None:
        """Let each slot fall whose bundle this TLS library refuses; another one may have accepted it once."""
        slots, active = self._store.slots(), self._store.active
        named = {id_ for slot in slots for id_ in slot.ways}
        is_large = active is not None and len(active.bundles()) > policy.CONTEXTS_PROVED
        if is_large and active is not None and active.default is not None:
            # workers build the others at their first use, and tell what they can't
            named = {id_ for id_ in (active.default, active.default_beside) if id_ is not None}
        unservable = self._publishing.unservable(named)
        for id_, why in unservable.items():
            _log.error("bundle_unservable", bundle=id_, why=why)
        self._aside = frozenset(unservable)
        self._attempt("set_aside", partial(self._store.set_aside, self._aside))

    def _set_aside_what_is_lost(self) -> None:
        lost, self._lost = self._lost, set()
        self._prove(doubted=lost)
        whole = frozenset(filter(self._can_be_loaded, lost))
        if whole - self._aside:
            self._aside |= whole
            self.on_moved(self._store.set_aside(self._aside))

    def _can_be_loaded(self, bundle_id: str) -> bool:
        try:
            self._store.bundle(bundle_id)
        except StoreError as error:
            return isinstance(error, StoreExhausted)  # then nobody knows, and who told us is believed
        return True

    def _prove(self, at_most: int = 0, doubted: Iterable[str] = ()) -> None:
        """Read bundles of a large store, which its start took on trust, and say which slots have fallen."""
        for finding in self._store.prove(at_most, doubted):
            self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        tell = _log.error if finding.is_error else _log.warning
        tell("finding", code=finding.code, words=finding.words, hint=finding.hint)
        self.on_finding(finding)

    def _look_again_at_what_is_aside(self) -> None:
        """Take back what can be served after all: at the start, memory or descriptors may have been short."""
        still = frozenset(self._publishing.unservable(self._aside))
        if still != self._aside:
            generation = self._store.set_aside(still)
            self.on_moved(generation)
            _log.warning(
                "bundles_servable_again", bundles=sorted(self._aside - still), generation=generation.number
            )
            self._aside = still

    def _serve_from_memory(self) -> None:
        """The last rung: nothing on disk can be activated, and nothing can be written there."""
        fingerprint = self._publishing.serve_in_memory(None)  # what was served before a reload, still is
        if fingerprint is None:
            bundle = self._own()
            if bundle is None or self._publishing.unservable([bundle.id]):
                bundle = selfsigned.issue(self._identity(), selfsigned.new_key(), self._clock())
            fingerprint = self._publishing.serve_in_memory(bundle)
        self._in_memory = True
        _log.error("serving_from_memory", fingerprint=fingerprint)


def _code_of(error: Exception) -> str:
    match error:
        case StoreError():
            return error.code
        case Refusal():
            return error.findings[0].code
        case OSError():
            return "system_failed"
    return "internal_error"


async def wait_random_ready() -> None:
    """Return once the kernel's random generator is seeded; say so when that takes time (getrandom(2))."""
    if firstboot.random_ready():
        return
    _log.warning("random_wait", why="the kernel's random generator is not ready; no key is made before it is")
    while not firstboot.random_ready():  # noqa: ASYNC110  the kernel tells nobody when it is
        await trio.sleep(policy.RANDOM_POLL_S)
    _log.info("random_ready")
