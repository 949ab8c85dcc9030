"""The inbox: a directory of somebody else's files becomes candidates, and each gets its receipt.

It serves our own inbox and watched directories alike; `Kind` says what may be touched. A hint from `watch`,
or a moment that the last plan named, leads to a look, and that to steps, each in a thread of its own. It
promises that one bad file never holds back another, that the same content is handled once per directory,
and that files which came while nobody looked are found at the start. It refuses to know what is good: the
store decides.

*What stays and what goes.* Accepted files stay where they are: a configuration manager would put them back,
and they are passed by from then on. So is a refused file whose very content is put back: it had its
receipt. From the inbox refused files go to `.refused/<receipt>/` and are removed after seven days; lone
halves go there only after an hour without a partner; what can't be read stays. A watched directory is never
touched. After a reset watched directories are not even looked at, until somebody enables them.

*Known limits.* The hour of a lone half begins anew with the process. Content that was refused only because
its time had not come (`not_yet_valid`) is not tried again by itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import trio

from certstore import watch
from certstore.errors import StoreError
from certstore.examination import Examiner
from certstore.findings import Finding, found
from certstore.gathering import Problem, Ready, Timing
from certstore.keeper import Keeper, Origin, Step
from certstore.receipts import Receipt
from certstore.slots import Source
from certstore.snapshot import Kind
from certstore.store import Store

__all__ = ["RETRY_AFTER_S", "Inbox"]

# A store that can't be written is tried again after these; the last one repeats. People mend a full disk.
RETRY_AFTER_S = (1.0, 5.0, 30.0, 300.0)


def _untold(finding: Finding) -> None:
    """Keep a finding to ourselves."""


@dataclass(slots=True)
class _Hold:
    """A step that the disk kept from being done: when it is due again, and how often it failed."""

    until: float
    failures: int
    finding: Finding


@dataclass(slots=True, eq=False, kw_only=True)
class Inbox:
    """One directory of other people's files, looked after until cancelled.

    `via` is `inbox`, or `watch:PATH`. `clock` gives the aware wall clock; it judges only how long refused
    files are kept. `on_receipt` gets every receipt that comes of these files; `on_trouble` gets each
    finding about the directory as a whole (missing, unreadable, unwatchable, a disk that fails, no thread
    left to look) when it begins. Both are called in the event loop and must not block. `troubles` are the
    findings that stand now.
    """

    store: Store
    path: Path
    kind: Kind
    source: Source
    via: str
    examiner: Examiner
    clock: Callable[[], datetime]
    on_receipt: Callable[[Receipt], None]
    on_trouble: Callable[[Finding], None] = _untold
    timing: Timing = field(default_factory=Timing)
    rescan_s: float = watch.RESCAN_S
    troubles: frozenset[Finding] = field(default=frozenset(), init=False)
    _hinted: trio.Event = field(default_factory=trio.Event, init=False, repr=False)
    _holds: dict[str, _Hold] = field(default_factory=dict, init=False, repr=False)
    _looking: trio.Lock = field(default_factory=trio.Lock, init=False, repr=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the directory until cancelled; no task or thread outlives this.

        An inbox that doesn't exist is made (0700) if its parent is there. Cancelling waits for a proposal
        under way, which must not be cut in two, else it takes milliseconds.
        """
        origin = Origin(self.path, self.kind, self.source, self.via)
        keeper = Keeper(self.store, origin, self.examiner, self.timing, self.clock)
        try:
            await trio.to_thread.run_sync(keeper.make)
        except RuntimeError:  # no thread is to be had: it is one system call or two
            keeper.make()
        async with trio.open_nursery() as nursery:
            follow = partial(watch.run, rescan_s=self.rescan_s, on_trouble=self.on_trouble)
            await nursery.start(follow, (self.path,), self.hint)
            task_status.started()
            while True:
                try:
                    async with self._looking:
                        again_at = await self._look(keeper)
                except RuntimeError as error:  # what threading says where no thread is to be had
                    self._tell(self.troubles | {found("look_failed", path=self.path, why=error)})
                    again_at = time.monotonic() + RETRY_AFTER_S[0]
                with trio.move_on_after(max(again_at - time.monotonic(), 0.0)):
                    await self._hinted.wait()

    def hint(self) -> None:
        """Say that something may have changed. From the event loop's thread."""
        self._hinted.set()

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Hold off all looks while the block runs: nothing that was seen before it is proposed after it.

        Waits for the look under way, with its proposals.
        """
        async with self._looking:
            yield

    async def _look(self, keeper: Keeper) -> float:
        """Look once and do what is due; gives the moment (monotonic) to look again without a hint."""
        self._hinted = trio.Event()  # before the look: what happens during it calls for another one
        if self.store.owes_erasure:  # what lies here may be what is to go
            return time.monotonic() + RETRY_AFTER_S[1]
        if self.kind is Kind.WATCH and self.store.watches_suspended:
            self._tell(frozenset({found("watch_suspended", path=self.path)}))
            return float("inf")
        decided = await trio.to_thread.run_sync(keeper.survey)
        steps: list[Step] = [*decided.ready, *decided.problems, *decided.leftovers]
        digests = {one.digest for one in decided.ready} | {one.digest for one in decided.problems}
        self._holds = {digest: hold for digest, hold in self._holds.items() if digest in digests}
        for step in steps:
            await self._act(keeper, step)
        self._tell(keeper.troubles | {hold.finding for hold in self._holds.values()})
        times = [hold.until for hold in self._holds.values()]
        if decided.look_again_at is not None:
            times.append(decided.look_again_at)
        return min(times, default=float("inf"))

    async def _act(self, keeper: Keeper, step: Step) -> None:
        digest = step.digest if isinstance(step, Ready | Problem) else ""
        hold = self._holds.get(digest)
        if hold and time.monotonic() < hold.until:
            return
        try:
            receipt = await trio.to_thread.run_sync(keeper.handle, step)
        except StoreError as error:
            failures = hold.failures + 1 if hold else 1
            wait_s = RETRY_AFTER_S[min(failures, len(RETRY_AFTER_S)) - 1]
            self._holds[digest] = _Hold(time.monotonic() + wait_s, failures, found("disk_failed", why=error))
            return
        self._holds.pop(digest, None)
        if receipt:
            self.on_receipt(receipt)

    def _tell(self, troubles: frozenset[Finding]) -> None:
        before, self.troubles = self.troubles, troubles
        for finding in sorted(troubles - before, key=lambda finding: (finding.code, finding.words)):
            self.on_trouble(finding)
