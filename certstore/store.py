"""The store: what a device serves, and everything that ever changes it.

Promises: `propose` is the only way in, and whatever is wrong with a candidate, or with another change that
somebody wants, leaves what is served as it was, with a receipt that says so. Changes come one after another;
each is whole on disk before it is served.
Refuses to know TLS, sockets, the time and what is in a file: publisher, clock and examiner are handed in.

Threads: what a store shows (showing.py) never waits, from any thread. Everything that changes something
blocks on the disk and on the changes before it: call it in a worker thread, and never from within a publisher
or an examiner.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from certstore import layout
from certstore.atomic import Disk
from certstore.authority import DeviceCA
from certstore.backup import Backup
from certstore.banning import Banning, Fresh
from certstore.bans import Reason, is_spki
from certstore.bundle import Bundle
from certstore.changing import Changing
from certstore.confirming import Confirming
from certstore.decode import Candidate
from certstore.erasure import Reset
from certstore.errors import NotFound, StoreError, StoreGone, StoreNotWritable
from certstore.examination import Examiner
from certstore.findings import Finding, found
from certstore.gates import NullPublisher, Publisher
from certstore.generation import Cause
from certstore.lock import Lock
from certstore.premises import enter, furnish
from certstore.probation import BootClock, unknown_boot
from certstore.proposing import Proposing, Terms
from certstore.provisioning import Factory
from certstore.pruning import Pruning
from certstore.reading import read_bundle, read_generation
from certstore.receipts import Receipt
from certstore.recovery import Recovery
from certstore.requesting import Requesting
from certstore.resetting import Resetting
from certstore.restoring import Restoring
from certstore.reverting import Reverting
from certstore.rooms import Rooms
from certstore.showing import Clock
from certstore.slots import Key, Source
from certstore.succession import Succession, View
from certstore.trusting import Trusting, TrustSlots
from certstore.upkeep import Kept

__all__ = [
    "Clock",
    "NullPublisher",
    "Publisher",
    "Store",
    "read_bundle",
    "read_generation",
]


class Store(Kept):
    """A store that is held: locked for everybody else until `close`. Made by `open`."""

    def __init__(
        self, root: Path, lock: Lock, disk: Disk, clocks: tuple[Clock, BootClock], publisher: Publisher
    ) -> None:
        """Use `open`."""
        self._root, self._disk, self._lock = root, disk, lock
        self._clock, self._boot_clock = clock, boot_clock = clocks
        rooms = Rooms.of(root, disk)
        self._activation, self._erasing = rooms.activation, rooms.erasing
        self._shelf, self._archive, self._ledger = rooms.shelf, rooms.archive, rooms.ledger
        self._handled, self._probations, self._suspension = rooms.handled, rooms.probations, rooms.suspension
        plausible = self.clock_plausible
        self._succession = succession = Succession(
            self._activation, self._archive, self._shelf, publisher, clock, plausible
        )
        self._changes = changes = Changing(
            self._ledger, self._shelf, self._activation, succession, self._probations, clock
        )
        place = (root, disk)
        self.requests = Requesting(place, succession, self._shelf, clock, plausible, self._change)
        self.device_ca = DeviceCA(root, disk, self._change, self._shelf.bans)
        shelf, around = self._shelf, self.circumstances
        self._proposing = Proposing(
            changes, succession, shelf, self._probations, self.requests, clock, around, boot_clock
        )
        self._reverting = Reverting(changes, succession, self._archive, self._shelf, self._probations, clock)
        self._restoring = Restoring(changes, succession, self._shelf, self.requests, clock)
        self._banning = Banning(changes, succession, self._shelf, self.device_ca, clock)
        self._resetting = Resetting(changes, succession, self._erasing, self._ledger, self._shelf, clock)
        self._erasing.on_erased = self._forget_erased
        self._pruning = Pruning(self._archive, self._shelf)
        self._confirming = Confirming(changes, succession, self._probations, self._ledger, clock)
        self.factory = Factory(root, disk, self._change, changes, self._proposing)
        trusting = Trusting(root, disk, self._archive, changes, succession, clock, plausible)
        self.trust = TrustSlots(trusting, self._change)
        self._changing = threading.Lock()
        self._barred: StoreError | None = None
        recovered = Recovery(root, disk, rooms).run(clock(), boot_clock(), plausible)
        self._handled.load()
        self._succession.view = View.of(recovered.active, recovered.slots)
        self._succession.next_number, self._succession.owed = recovered.next_number, recovered.owed
        self.recovered = (*recovered.findings, *self.requests.load(self._ledger.is_refused))
        self.settled = recovered.settled
        self.factory.settle()

    @classmethod
    def open(  # noqa: PLR0913  each has another owner, and all but two a default
        cls,
        path: Path | str,
        *,
        clock: Clock,
        boot_clock: BootClock = unknown_boot,
        publisher: Publisher | None = None,
        lock_wait_s: float = 0.0,
        disk: Disk | None = None,
        held: int | None = None,
    ) -> Store:
        """Open the store in the folder `path`, made (0700) if absent, and put right what the last run left.

        boot_clock: tells the boot and its seconds; without one nothing can be put in probation, and what is
        in it goes back now.
        held: the descriptor of the store's lock, where this process has it already (`at_rest`).
        What had to be put right stands in `recovered`, and in `settled` what became of changes that were
        open. The publisher is not called: read `active` first.
        Raises StoreInsecure, StoreLocked (after `lock_wait_s`) or StoreNotWritable where no folder or lock
        can be had; never for want of a good certificate, and not for a newer format or a disk that takes no
        writes: such a store is served as it is, and `propose` raises.
        """
        root = Path(path).absolute()
        disk = disk or Disk()
        enter(root, disk)
        note = f"process {os.getpid()}, since {clock():%Y-%m-%d %H:%M:%S} UTC"
        lock = Lock(held) if held is not None else Lock.acquire(root / layout.LOCK, note, lock_wait_s)
        try:
            barred = furnish(root, disk)
            if barred is not None:
                disk = Disk(before=_raiser(barred))
            store = cls(root, lock, disk, (clock, boot_clock), publisher or NullPublisher())
            if barred is not None:
                store._barred = barred
                told = found("store_read_only", why=barred)
                store.recovered = tuple(dict.fromkeys((*store.recovered, told)))
        except BaseException:
            lock.release()
            raise
        return store

    @property
    def is_read_only(self) -> bool:
        """Whether no change is possible now: of a newer format, damaged, closed, or gone (`is_here`)."""
        return self._why_barred() is not None

    def close(self) -> None:
        """Let go of the store when a change under way is done. Reading goes on; again does nothing."""
        with self._changing:
            self._barred = StoreNotWritable(self._root, "it is closed")
            self._lock.release()

    @contextmanager
    def at_rest(self) -> Iterator[int]:
        """Hold off all changes while the block runs; gives the descriptor of the store's lock.

        For a process that executes itself anew and goes on holding the store (`open`'s `held`). Waits for the
        change under way; may be entered in one thread and left in another. Raises StoreGone where there is
        nothing to go on with.
        """
        with self._changing:
            if not self.is_here:
                raise StoreGone(self._root)
            yield self._lock.descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        active = self.active
        return f"<Store {self._root} generation={active.number if active else None}>"

    # --- changing: one after another ---

    def propose(  # noqa: PLR0913  what may be asked for with a candidate has defaults
        self,
        candidate: Candidate | Bundle,
        *,
        source: Source,
        via: str,
        examiner: Examiner,
        confirm_within_s: float | None = None,
        reason: Reason = Reason.SUPERSEDED,
        word: str = "",
        beside: bool = False,
    ) -> Receipt:
        """Examine, store and activate a candidate; gives its receipt, confirmed or refused.

        confirm_within_s: the change goes back by itself unless it is confirmed in so many seconds; its
        receipt is live until then. A further proposal for the same names starts the time anew; the way back
        stays the last confirmed state.
        reason: why what it replaces leaves; where its key is compromised, that is banned with this change.
        beside: it stands beside the bundle with the other kind of key (EC, RSA) that is there for its names,
        and is refused where there is none. Without it, a candidate takes the place of both; one with the
        files of two bundles, EC and RSA, for the same names has both served.
        word: the SHA-256 of a word by which a client confirms it (`Probation.word`).
        Never raises for what is wrong with the candidate or with its publishing. Raises StoreError when the
        disk fails before the new generation is active: what was served is served on, and the candidate may
        be proposed again. When the disk fails after that, the receipt is live and says so (`not_recorded`).
        """
        if confirm_within_s is not None and not (0 < confirm_within_s < math.inf and self._boot_clock().boot):
            raise ValueError("a probation takes some seconds, and a boot clock")
        terms = Terms(beside=beside)
        with self._change():
            return self._changes.handle(
                source,
                via,
                lambda case: self._proposing.propose(case, candidate, examiner, terms, word=word),
                confirm_within_s=confirm_within_s,
                reason=reason,
            )

    def roll_back(self, key: Key, *, via: str, reason: Reason = Reason.SUPERSEDED) -> Receipt:
        """Put one slot (its source and id) back to what it had before; gives the receipt of that change.

        From a probation back to the last confirmed state, else one step of its history, or back to what was
        there before it was removed. Other slots stay. Refused where there is nothing to go back to, where
        that can't be served, or where the slot is sealed. Raises NotFound where there is and was no such
        slot, and StoreError as `propose`.
        """
        with self._change():
            back = self._reverting.back_from(key)
            return self._changes.handle(
                key[0],
                via,
                lambda case: self._reverting.roll_back(case, key, back),
                cause=Cause.ROLLBACK,
                reason=reason,
            )

    def activate(self, number: int, *, via: str) -> Receipt:
        """Have every slot as that generation had it, confirmed; from them a new generation is computed.

        Refused, before anything changes, where a bundle is gone (`not_restorable`) or a slot is sealed.
        Raises NotFound or StoreCorrupt where there is no such generation to read, and StoreError as
        `propose`.
        """
        with self._change():
            then = self._reverting.generation(number)
            return self._changes.handle(
                Source.CUSTOMER,
                via,
                lambda case: self._reverting.activate(case, then),
                cause=Cause.ACTIVATION,
            )

    def remove(self, key: Key, *, via: str, reason: Reason = Reason.SUPERSEDED) -> Receipt:
        """Take a slot (its source and id) away: its names go to the next source, at last our own.

        Its bundle stays as long as kept generations name it, so that `roll_back` can bring it back. Refused
        for the device's own, for a sealed slot, and where nothing could be served without it. Raises
        NotFound, and StoreError as `propose`.
        """
        with self._change():
            slot = self._succession.view.slots.get(key)
            if slot is None:
                raise NotFound("slot", f"{key[0]}/{key[1]}")
            return self._changes.handle(
                key[0],
                via,
                lambda case: self._reverting.remove(case, slot),
                cause=Cause.REMOVAL,
                reason=reason,
            )

    def ban(self, spki: str, *, via: str, fresh: Fresh | None = None) -> Receipt:
        """Never serve the key with this SPKI hash again, whoever brings it; what was begun with it ends.

        fresh: makes an identity with another key, called where the banned one is the device's own, or where
        nothing else could be served; without it that is refused. Raises ValueError for what is no hash, and
        StoreError as `propose`.
        """
        if not is_spki(spki):
            raise ValueError("a key is named by the SHA-256 of its SPKI, in lower-case hex")
        with self._change():
            ban = partial(self._banning.ban, spki=spki, fresh=fresh)
            receipt = self._changes.handle(Source.GENERATED, via, ban, cause=Cause.BAN)
        if self.device_ca.has_key(spki):
            self.device_ca.on_kept()
        return receipt

    def restore(self, backup: Backup, *, via: str, identity: bool = False) -> Receipt:
        """Have what customer and ACME had in a backup instead of what they have; `identity`: all sources.

        One change, confirmed. Refused where the backup has nothing of that (`backup_empty`) or a slot here is
        sealed. Raises StoreError as `propose`.
        """
        with self._change():
            return self._changes.handle(
                Source.CUSTOMER,
                via,
                lambda case: self._restoring.restore(case, backup, identity=identity),
                cause=Cause.RESTORE,
            )

    def reset(self, wish: Reset, *, via: str) -> Receipt:
        """Take away what `wish` says, keys and all that could bring them back: one change, confirmed.

        Watched directories are suspended with the customer's. What can't be erased at once is owed
        (`erasure_owed`): it is tried again by `prune`, the next change and the next start. Refused where
        nothing could be served (`reset_leaves_nothing`). Raises StoreError as `propose`.
        """
        source = Source.CUSTOMER if wish.own is None else Source.GENERATED
        with self._change():
            return self._changes.handle(
                source, via, lambda case: self._resetting.reset(case, wish), cause=Cause.RESET
            )

    def enable_watches(self) -> bool:
        """Have watched directories looked at again; False where they are. Raises StoreError."""
        with self._change():
            return self._suspension.end()

    def confirm(self, receipt_id: str, *, via: str) -> Receipt:
        """Keep a live change for good; gives its receipt, also where it was confirmed before.

        Raises NotFound, Refusal (`not_in_probation`) where it has gone back or something else took its place,
        and StoreError where that can't be written: then it is in probation still.
        """
        with self._change():
            return self._confirming.confirm(receipt_id, via)

    def refused(self, source: Source, via: str, findings: tuple[Finding, ...]) -> Receipt:
        """Write down a refusal that was decided outside: of what never became a candidate."""
        assert any(finding.is_error for finding in findings), "a refusal without an error"
        with self._change():
            return self._ledger.open_refused(source, via, self._clock(), findings)

    def remember(self, path: Path | str, digest: str, receipt_id: str) -> None:
        """Remember that this content at this path got this receipt, so that a rescan passes it by."""
        with self._change():
            self._handled.remember(str(path), digest, receipt_id)

    def _forget_erased(self) -> None:
        """Let go in memory of what a reset has erased."""
        self.requests.load(self._ledger.is_refused)
        self.device_ca.forget()

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Be the only one who changes anything. Raises why nothing may be written here."""
        with self._changing:
            if (barred := self._why_barred()) is not None:
                raise barred
            self._resetting.finish()
            yield
            self.requests.settle()


def _raiser(error: StoreError) -> Callable[[str, Path], None]:
    def refuse(step: str, path: Path) -> NoReturn:  # noqa: ARG001  the shape of Disk's seam
        raise error

    return refuse
