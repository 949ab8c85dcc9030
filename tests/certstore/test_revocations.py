"""A revoked certificate's rows move to a good one of another real source, and to nobody's self-signed one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore import layout
from certstore.atomic import Disk
from certstore.errors import StoreError
from certstore.generation import BundleFacts, Cause, compute
from certstore.slots import Slot, Source
from certstore.store import Store
from tests.pki import Pki
from tests.storing import Clock, propose

NOW = datetime(2026, 11, 27, tzinfo=UTC)
DAY = timedelta(days=1)


def served_of(
    *slots: tuple[Source, str],
    revoked: str,
    expired: str = "",
    own_signature: str = "g",
    plausible: bool = True,
) -> str | None:
    """Give the letter of the bundle that is served where these have the same name."""
    made = [
        Slot(source, ("x.test",), letter * 64, None, "test", False, "000001-00000000", NOW, number)
        for number, (source, letter) in enumerate(slots)
    ]
    facts = {
        letter * 64: BundleFacts(
            ("x.test",),
            NOW - 90 * DAY,
            NOW + (-1 if letter in expired else 1) * DAY,
            letter in own_signature,
            revoked=letter in revoked,
        )
        for _, letter in slots
    }
    rows, default, _ = compute(made, facts, NOW, plausible)
    assert [row.bundle for row in rows] == [default]
    return default and default[0]


CUSTOMER, ACME, FACTORY, GENERATED = ((source, letter) for source, letter in zip(Source, "cafg", strict=True))


def test_a_revoked_one_gives_way_to_the_next_real_source():
    assert served_of(CUSTOMER, ACME, FACTORY, revoked="c") == "a"
    assert served_of(CUSTOMER, ACME, FACTORY, revoked="ca") == "f"
    assert served_of(CUSTOMER, ACME, revoked="a") == "c"


def test_nothing_that_is_self_signed_expired_or_revoked_takes_its_place():
    assert served_of(CUSTOMER, GENERATED, revoked="c") == "c"
    assert served_of(CUSTOMER, ACME, GENERATED, revoked="c", expired="a") == "c"
    assert served_of(CUSTOMER, ACME, revoked="ca") == "c"
    assert served_of(CUSTOMER, ACME, revoked="c", own_signature="a") == "c"


def test_an_expired_one_is_not_rescued_by_a_revoked_one():
    assert served_of(CUSTOMER, ACME, FACTORY, revoked="a", expired="c") == "f"


def test_what_is_revoked_is_so_whatever_the_clock_says():
    assert served_of(CUSTOMER, ACME, revoked="c", plausible=False) == "a"


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    with Store.open(tmp_path / "store", clock=clock) as store:
        yield store


def two(store: Store, pki: Pki) -> tuple[str, str]:
    """Have a certificate of the customer served, with one of ACME below; gives their ids."""
    below, above = pki.leaf(), pki.leaf()
    propose(store, below, Source.ACME)
    propose(store, above)
    return above.bundle().id, below.bundle().id


def served(store: Store) -> str | None:
    assert store.active is not None
    return store.active.default


def test_rows_move_when_it_is_told_and_back_when_it_is_over(store, pki):
    above, below = two(store, pki)
    generation = store.note_revoked([above])
    assert generation is not None
    assert generation.cause == Cause.REVOCATION
    assert (served(store), store.revoked) == (below, frozenset({above}))
    assert store.note_revoked([above]) is None, "nothing is written while nothing changes"
    assert store.refresh() is None
    assert store.note_revoked([]) is not None
    assert (served(store), store.revoked) == (above, frozenset())
    assert not (store.path / layout.REVOKED).exists()


def test_what_was_told_holds_after_a_restart(tmp_path, clock, store, pki):
    above, below = two(store, pki)
    store.note_revoked([above])
    store.close()
    with Store.open(tmp_path / "store", clock=clock) as again:
        assert (served(again), again.revoked) == (below, frozenset({above}))
        assert again.refresh() is None


def test_a_crash_between_the_record_and_the_rows_is_made_good_by_the_next_start(tmp_path, clock, store, pki):
    above, below = two(store, pki)
    store._shelf.revoked.have([above])
    store.close()
    with Store.open(tmp_path / "store", clock=clock) as again:
        assert served(again) == below


@pytest.mark.parametrize("content", [b"", b"{", b'{"bundles": "x"}', b'{"bundles": ["../../etc"]}'])
def test_a_damaged_record_is_as_if_nothing_had_been_told(tmp_path, clock, store, pki, content):
    above, _ = two(store, pki)
    store.note_revoked([above])
    store.close()
    (tmp_path / "store" / layout.REVOKED).write_bytes(content)
    with Store.open(tmp_path / "store", clock=clock) as again:
        assert (served(again), again.revoked) == (above, frozenset())


def test_the_same_certificate_handed_in_again_does_not_take_the_row_back(store, pki):
    below, above = pki.leaf(), pki.leaf()
    propose(store, below, Source.ACME)
    propose(store, above)
    store.note_revoked([above.bundle().id])
    other = pki.leaf()
    propose(store, other)
    assert served(store) == other.bundle().id, "another one of the customer's is good"
    propose(store, above)
    assert served(store) == below.bundle().id


def test_alone_it_stays(store, pki):
    issued = pki.leaf()
    propose(store, issued)
    assert store.note_revoked([issued.bundle().id]) is None
    assert served(store) == issued.bundle().id


def test_what_the_disk_did_not_take_is_written_when_it_is_noted_again(tmp_path, clock, pki):
    with Store.open(tmp_path / "written", clock=clock) as store:
        above, below = two(store, pki)
        assert not store.owes_revoked
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Disk, "write", _full)
            assert store.note_revoked([above]) is not None
        assert served(store) == below
        assert store.owes_revoked
        store.note_revoked([above])
        assert not store.owes_revoked
    with Store.open(tmp_path / "written", clock=clock) as again:
        assert again.revoked == {above}


def _full(*_all: object) -> None:
    raise StoreError("the disk is full")


def test_where_the_disk_takes_no_writes_the_row_moves_in_memory(tmp_path, clock, store, pki):
    above, below = two(store, pki)
    store.close()
    (tmp_path / "store" / layout.FORMAT).write_text("2\n")
    with Store.open(tmp_path / "store", clock=clock) as newer:
        assert newer.is_read_only
        assert newer.note_revoked([above]) is not None
        assert served(newer) == below
        assert not (tmp_path / "store" / layout.REVOKED).exists()
