"""What must hold of a store after any crash, failure or power cut."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from certstore.examination import InProcess
from certstore.generation import Cause
from certstore.layout import generation_number
from certstore.probation import BootClock, unknown_boot
from certstore.reading import read_bundle, read_generation
from certstore.receipts import State
from certstore.slots import Source, bundles_named
from certstore.store import Store
from tests.pki import Pki
from tests.storing import half_done, served


@dataclass(frozen=True)
class Outcome:
    """Which bundle a start served, and what it had to put right."""

    bundle: str | None
    recovered: tuple[str, ...]


# because of a crash, or of a wish that can't be granted
REFUSED = {"interrupted", "disk_failed", "nothing_before", "nothing_before_removal"}
# and nothing damaged, nothing fallen
TOLD = {"slot_put_back", "probation_rebooted", "probation_over", "reset_completed"}


def assert_whole(
    root: Path, pki: Pki, allowed: set[str | None], boot_clock: BootClock = unknown_boot
) -> Outcome:
    """Open the store after the crash; all of it must be consistent, and it must take the next certificate."""
    seen = [n for path in root.glob("generations/*") if (n := generation_number(path.name)) is not None]
    with Store.open(root, clock=lambda: datetime.now(UTC), boot_clock=boot_clock) as store:
        now = served(store)
        assert now in allowed
        outcome = Outcome(now, tuple(finding.code for finding in store.recovered))
        assert set(outcome.recovered) <= TOLD
        assert_consistent(store)
        receipt = store.propose(pki.leaf().bundle(), source=Source.CUSTOMER, via="next", examiner=InProcess())
        assert receipt.state is State.CONFIRMED
        assert receipt.generation is not None
        assert all(receipt.generation > number for number in seen)
        assert served(store) == receipt.bundle
    with Store.open(root, clock=lambda: datetime.now(UTC)) as store:
        assert store.recovered == ()
        assert served(store) == receipt.bundle
    return outcome


def assert_consistent(store: Store, refused: Collection[str] = REFUSED) -> None:
    """Hold all parts of a store against each other; `refused`: the codes that a wish may be refused with."""
    root, active = store.path, store.active
    assert half_done(root) == []
    assert read_generation(root) == active
    named = set(bundles_named(store.slots()))
    for path in root.glob("generations/*"):
        number = generation_number(path.name)
        assert number is not None
        generation = store._archive.generation(number)
        named |= generation.bundles() | bundles_named(generation.slots)
        assert active is not None
        assert number <= active.number
    on_disk = {path.name for path in root.glob("bundles/*")}
    assert on_disk == named, "a key lies around that nothing names, or one is missing"
    for id_ in on_disk:
        read_bundle(root, id_)  # proves that the key is its certificate's
    on_probation = {one.receipt for one in store.probations()}
    on_disk_too = root.joinpath("probation.json").exists()
    assert on_disk_too == bool(on_probation), "a watch is kept over nothing, or nobody watches"
    for slot in store.slots():
        assert slot.is_confirmed == (slot.receipt not in on_probation)
        assert active is not None
        assert slot.bundle in {one.bundle for one in active.slots}
    for receipt in store.receipts():
        assert receipt.is_settled == (receipt.id not in on_probation)
        if receipt.state is State.REFUSED:
            assert receipt.codes[-1] in refused
        elif receipt.state is not State.CONFIRMED:
            assert receipt.confirm_within_s is not None
    for slot in store.slots():
        receipt = store.receipt(slot.receipt)
        if receipt.id not in on_probation:
            # one that came back, by an older generation or by a step, may have been rolled back before
            assert receipt.state is not State.REFUSED
        assert receipt.bundle == slot.bundle or receipt.cause is Cause.RESTORE
