"""What a store shows: the half of it that never changes anything, and never waits, from any thread.

Promises: an answer is of one moment; a change under way is seen before or after, never in between. Refuses to
know how anything changes (changing.py), and who holds the store (store.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path

from certstore import firstboot, layout
from certstore.archive import Archive
from certstore.authority import DeviceCA
from certstore.bans import Ban
from certstore.bundle import Bundle, PrivateKey
from certstore.circumstances import Circumstances, names_of_the_same_key
from certstore.confirming import Confirming
from certstore.decode import Candidate
from certstore.erasing import Erasing
from certstore.examination import Examiner
from certstore.findings import Finding
from certstore.generation import Generation
from certstore.ledger import Handled, Ledger
from certstore.meta import Meta
from certstore.probation import BootClock, Probation, Probations
from certstore.proposing import Proposing, Terms
from certstore.receipts import Receipt
from certstore.requesting import Requesting
from certstore.reverting import Reverting
from certstore.shelf import Shelf
from certstore.slots import Slot, Source, in_order
from certstore.succession import Succession
from certstore.suspension import Suspension
from certstore.trusting import TrustSlots

__all__ = ["Clock", "Shown"]

Clock = Callable[[], datetime]  # aware; the wall clock, right or wrong


class Shown:
    """A store's reading half; `Store` is the whole."""

    _root: Path
    _clock: Clock
    _shelf: Shelf
    _archive: Archive
    _ledger: Ledger
    _handled: Handled
    _succession: Succession
    _probations: Probations
    _proposing: Proposing
    _reverting: Reverting
    _confirming: Confirming
    _boot_clock: BootClock
    _suspension: Suspension
    _erasing: Erasing
    requests: Requesting
    """What waits for an authority's answer."""
    device_ca: DeviceCA
    """The device's own authority, if it has one."""
    trust: TrustSlots
    """By which authorities clients are let in."""

    @property
    def is_enrolled(self) -> bool:
        """Whether a certificate of an ACME authority is wanted (issuers/acme/enrolment.py)."""
        return (self._root / layout.ENROLMENT).exists()

    @property
    def path(self) -> Path:
        """The store's folder, absolute."""
        return self._root

    @property
    def active(self) -> Generation | None:
        """The generation that is served; None until something was ever activated."""
        return self._succession.view.active

    def slots(self) -> tuple[Slot, ...]:
        """Give all slots, the highest source first."""
        return in_order(self._succession.view.slots.values())

    def bundle(self, id: str) -> Bundle:  # noqa: A002  it is the bundle's id
        """Give a bundle. Raises NotFound, StoreCorrupt when its files are damaged, or StoreExhausted."""
        return self._shelf.bundle(id)

    def meta(self, id: str) -> Meta:  # noqa: A002  it is the bundle's id
        """Tell what is known of a bundle, from memory where anything is. Raises as `bundle`."""
        return self._shelf.meta(id)

    def known_key(self, spki: str) -> PrivateKey | None:
        """Give the private key with this SPKI hash, where a bundle here or a waiting request holds it."""
        return self.requests.known_key(spki)

    def bans(self) -> tuple[Ban, ...]:
        """Give the keys that are never served again, in the order of their hashes."""
        return tuple(ban for _, ban in sorted(self._shelf.bans.table.items()))

    def is_banned(self, spki: str) -> bool:
        """Whether the key with this SPKI hash is never served again."""
        return spki in self._shelf.bans

    def receipt(self, id: str) -> Receipt:  # noqa: A002  it is the receipt's id
        """Give a receipt. Raises NotFound."""
        return self._ledger.receipt(id)

    def receipts(self, limit: int = 50) -> tuple[Receipt, ...]:
        """Give at most `limit` receipts, the newest first."""
        return self._ledger.newest(limit)

    def generations(self, limit: int = 50) -> tuple[Generation, ...]:
        """Give at most `limit` generations that were or are active, the newest first; damaged ones left out.

        Read from the disk: a large store takes 0.1 s for each.
        """
        return tuple(islice(self._reverting.generations(), max(limit, 0)))

    def generation(self, number: int) -> Generation:
        """Give one generation that was or is active. Raises NotFound or StoreCorrupt."""
        return self._reverting.generation(number)

    def probations(self) -> tuple[Probation, ...]:
        """Give what is in probation, the first to end first."""
        return tuple(self._confirming.standing())

    def probation_ends_in_s(self) -> float | None:
        """Tell in how many seconds `end_probation` is due next; 0.0: now. None: nothing is in probation."""
        standing, now = self._confirming.standing(), self._boot_clock()
        if not standing:
            return None
        return min(0.0 if one.is_over(now) else one.ends_at - now.seconds for one in standing)

    @property
    def watches_suspended(self) -> bool:
        """Whether a reset has suspended watched directories, and nobody has enabled them since."""
        return self._suspension.is_on

    @property
    def owes_erasure(self) -> bool:
        """Whether a reset still has something to erase: what came in before it may not be taken up now."""
        return self._erasing.owed is not None

    def handled(self, path: Path | str, digest: str) -> str | None:
        """Give the id of the receipt that this content at this path got before, if it did."""
        return self._handled.receipt(str(path), digest)

    def rehearse(
        self, candidate: Candidate, *, source: Source, examiner: Examiner, beside: bool = False
    ) -> tuple[tuple[Bundle, ...], tuple[Finding, ...]]:
        """Examine a candidate as `Store.propose` would, and keep nothing: its bundles, and what was found.

        Two bundles where it is a pair, the EC one first. Raises Refusal.
        """
        return self._proposing.rehearse(source, candidate, examiner, Terms(beside=beside))

    def circumstances(self, bundle: Bundle) -> Circumstances:
        """Say what a bundle is to be judged by here: the time, and what else has its key.

        The device's own certificates don't count: they keep their key while their names come and go.
        """
        slots = [slot for slot in self._succession.view.slots.values() if slot.source is not Source.GENERATED]
        served = {id_ for slot in slots for id_ in slot.ways}
        others = [meta for meta in self._shelf.metas_with(bundle.spki) if meta.id in served]
        return Circumstances(
            self._clock(), self.clock_plausible(), known_as=names_of_the_same_key(bundle, others)
        )

    def clock_plausible(self) -> bool:
        """Whether the clock can be right: not before the build date, nor behind the last receipts."""
        return firstboot.clock_plausible(self._clock(), firstboot.BUILD_DATE, self._ledger.newest_seen())
