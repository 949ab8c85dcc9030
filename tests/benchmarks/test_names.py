"""Many names: our store is what certstore itself would have made, and every peer's edits find their place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.names import (
    file_of,
    fill_store,
    fingerprint_of,
    make_files,
    name_of,
    read_bundle,
    store_of_files,
)
from benchmarks.peers.many import with_names
from benchmarks.peers.table import OURS, THEIRS
from benchmarks.scenarios.names import COUNT, QUICK_COUNT, TOUCHED, chosen
from benchmarks.server import TEMPLATES
from certstore import Generation, InProcess, Row, Source, Store
from tests.pki import Pki


def rows_of(generation: Generation | None) -> tuple[tuple[Row, ...], str | None]:
    assert generation is not None
    return generation.rows, generation.default


def test_a_store_that_was_filled_at_once_serves_what_one_filled_by_proposals_serves(tmp_path: Path):
    pki, now = Pki(), datetime.now(UTC)
    bundles = [
        pki.leaf(names=names).bundle() for names in (("b.test",), ("a.test", "c.test"), ("device.test",))
    ]
    fill_store(tmp_path / "filled", bundles, now)
    with (
        Store.open(tmp_path / "filled", clock=lambda: now) as filled,
        Store.open(tmp_path / "proposed", clock=lambda: now) as proposed,
    ):
        for bundle in bundles:
            proposed.propose(bundle, source=Source.CUSTOMER, via="test", examiner=InProcess())
        assert filled.recovered == ()
        assert rows_of(filled.active) == rows_of(proposed.active)
        assert {slot.key for slot in filled.slots()} == {slot.key for slot in proposed.slots()}


def test_the_names_files_become_a_store_with_a_default_of_its_own(tmp_path: Path):
    folder, own = tmp_path / "names", tmp_path / "own.pem"
    make_files(folder, 3)
    issued = Pki().leaf()
    own.write_bytes(issued.chain_pem + issued.key_pem)
    store_of_files(tmp_path / "store", folder, 3, own)
    with Store.open(tmp_path / "store", clock=lambda: datetime.now(UTC)) as store:
        rows, default = rows_of(store.active)
        assert [row.pattern for row in rows] == ["device.test", *(name_of(number) for number in range(3))]
        assert default == read_bundle(own).id
        assert store.bundle(rows[1].bundle).fingerprint == fingerprint_of(file_of(folder, name_of(0)))


def test_the_names_are_made_once_for_all_servers(tmp_path: Path):
    make_files(tmp_path / "names", 2)
    before = file_of(tmp_path / "names", name_of(1)).read_bytes()
    make_files(tmp_path / "names", 2)
    assert file_of(tmp_path / "names", name_of(1)).read_bytes() == before


@pytest.mark.parametrize("peer", THEIRS, ids=lambda peer: peer.name)
def test_every_peer_is_set_up_for_many_names_and_each_edit_finds_its_place(peer):
    edits = with_names(peer, 5).edits
    assert edits
    for template, old, _ in edits:
        assert template in peer.templates
        assert (TEMPLATES / template).read_text().count(old) == 1


@pytest.mark.parametrize("peer", OURS, ids=lambda peer: peer.name)
def test_our_configuration_is_the_same_for_many_names(peer):
    assert with_names(peer, 5).edits == ()


@pytest.mark.parametrize("count", [COUNT, QUICK_COUNT])
def test_the_names_that_are_asked_for_are_all_different_and_exist(count):
    names = chosen(count)
    assert len(set(names)) == TOUCHED
    assert set(names) <= {name_of(number) for number in range(count)}
