"""A start that can't read what was active brings no trust set back that had been replaced since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from certstore.archive import Archive
from certstore.atomic import Disk
from certstore.receipts import State
from certstore.records import dump
from certstore.store import Store
from tests.pki import Pki, crl
from tests.storing import Clock, propose

Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "the generation is empty": lambda root: newest(root).write_bytes(b""),
    "the generation is gone": lambda root: newest(root).unlink(),
    "the generation and the active file": lambda root: (
        newest(root).write_bytes(b""),
        (root / "active").write_bytes(b""),
    ),
}


def newest(root: Path, folder: str = "generations") -> Path:
    return max((root / folder).iterdir(), key=lambda path: int(path.stem.partition("-")[0]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def put(store: Store, *parts: bytes, name: str = "plant") -> None:
    receipt = store.trust.put(name, [(f"{i}.pem", part) for i, part in enumerate(parts)], via="test")
    assert receipt.state == "confirmed", receipt.codes


def ids(store: Store) -> dict[str, str]:
    return {one.name: one.id for one in store.trust.held}


def told(store: Store) -> list[str]:
    return [one.code for one in store.recovered]


def revoking(root: Path, clock: Clock, pki: Pki) -> dict[str, str]:
    """Make a store whose newest generation is the first by which a client is revoked; give its sets."""
    with Store.open(root, clock=clock) as store:
        propose(store, pki.leaf())
        put(store, pki.root_pem, crl(pki.root, pki.root_key, start=clock.now))
        put(store, pki.intermediate_pem, name="other")
        clock.go(minutes=1)
        put(store, crl(pki.root, pki.root_key, (7,), start=clock.now))
        return ids(store)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_revoked_client_does_not_come_back_with_a_damaged_generation(root, clock, pki, damage):
    wanted = revoking(root, clock, pki)
    damage(root)
    for found in (["active_damaged"], []):
        with Store.open(root, clock=clock) as store:
            assert (ids(store), told(store)) == (wanted, found)
            held = store.trust.read("plant")
            assert held is not None
            assert [one.serial_number for one in held.crls[0]] == [7]


def test_a_set_that_was_taken_away_stays_away(root, clock, pki):
    revoking(root, clock, pki)
    with Store.open(root, clock=clock) as store:
        store.trust.remove("plant", via="test")
        left = ids(store)
        propose(store, pki.leaf())
    newest(root).write_bytes(b"")
    newest(root).unlink()
    newest(root).write_bytes(b"")
    with Store.open(root, clock=clock) as store:
        assert (ids(store), told(store)) == (left, ["active_damaged"])
        assert left.keys() == {"other"}


def test_a_change_that_never_came_to_its_end_lets_nobody_in_by_its_set_alone(root, clock, pki):
    """Power went while it was written, and took the generation: the old or the new one may have counted."""
    wanted = revoking(root, clock, pki)
    with Store.open(root, clock=clock) as store:
        receipt = next(one for one in store.receipts() if one.trust is not None)
    unfinished = replace(receipt, state=State.RECEIVED, generation=None, times={State.RECEIVED: clock.now})
    newest(root, "receipts").write_bytes(dump(unfinished.to_json()))
    newest(root).write_bytes(b"")
    with Store.open(root, clock=clock) as store:
        assert ids(store) == {"other": wanted["other"]}
        assert told(store) == ["active_damaged", "trust_forgotten"]
        assert "plant" in store.recovered[1].words
        assert [one.code for one in store.trust.standing(["plant"])] == ["trust_missing"]
        put(store, pki.root_pem, crl(pki.root, pki.root_key, (7,), start=clock.now))
        assert ids(store).keys() == wanted.keys()


def test_without_a_whole_record_of_the_changes_no_set_is_in_force(root, clock, pki):
    revoking(root, clock, pki)
    newest(root).write_bytes(b"")
    newest(root, "receipts").write_bytes(b"")
    with Store.open(root, clock=clock) as store:
        assert ids(store) == {}
        assert told(store).count("trust_forgotten") == 2
        assert store.active is not None
        assert store.active.default is not None


def test_a_receipt_that_does_not_name_its_set_counts_for_all(root, clock, pki):
    revoking(root, clock, pki)
    with Store.open(root, clock=clock) as store:
        receipt = next(one for one in store.receipts() if one.trust is not None)
    newest(root, "receipts").write_bytes(dump(replace(receipt, trust=None).to_json()))
    newest(root).write_bytes(b"")
    with Store.open(root, clock=clock) as store:
        assert ids(store) == {}


def test_a_generation_that_never_became_active_brings_no_set(root, clock, pki):
    wanted = revoking(root, clock, pki)
    with Store.open(root, clock=clock) as store:
        active = store.active
        assert active is not None
    Archive(root, Disk()).put(replace(active, number=active.number + 1, trust=()))
    newest_active = root / "generations" / f"{active.number}.json"
    newest_active.write_bytes(b"")
    with Store.open(root, clock=clock) as store:
        assert ids(store) == wanted
