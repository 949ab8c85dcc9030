"""The device's own authority as time goes by: what somebody may trust changes by a person's word only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from certstore import Bundle, Finding, Identity, NotFound
from tests.tlsproxy.test_caretaker import Scene
from tlsproxy.authoritykeeping import AuthorityKeeper, renewed_now

NAMES = ("device.test", "192.0.2.7")
MORE = (*NAMES, "192.0.2.8")


class Family:
    """A caretaker whose device has an authority; what is told is kept."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.told: list[tuple[str | None, Finding]] = []
        self.keeper = AuthorityKeeper(scene.store, self._tell)
        scene.caretaker.authority_for = self.keeper.turn

    def _tell(self, what: str | None, facts: Mapping[str, object], finding: Finding) -> None:
        assert "PRIVATE" not in str(facts)
        self.told.append((what, finding))

    @property
    def codes(self) -> list[str]:
        return [finding.code for _, finding in self.told]

    @property
    def root(self):
        authority = self.scene.store.device_ca.current()
        assert authority is not None
        return authority

    @property
    def leaf(self) -> Bundle:
        return self.scene.own()

    def wanted(self) -> Identity:
        return Identity(self.scene.names, "4711", self.scene.names[0])


@pytest.fixture
def family(tmp_path: Path, now: datetime) -> Iterator[Family]:
    scene = Scene(tmp_path / "store", now)
    yield Family(scene)
    scene.store.close()


async def test_the_first_start_makes_an_authority_and_a_leaf_below_it(family):
    await family.scene.caretaker.first_start()
    assert family.root.issued(family.leaf.leaf)
    assert family.leaf.names == family.root.names == tuple(sorted(NAMES))
    assert family.leaf.spki != family.root.spki
    assert family.told[0][0] == "make_device_ca"
    assert family.codes == ["device_ca_made"]
    first = family.leaf
    family.scene.pass_time(minutes=1)
    assert family.leaf == first


async def test_switched_on_later_it_issues_for_the_key_that_is_there(tmp_path, now):
    scene = Scene(tmp_path / "store", now)
    await scene.caretaker.first_start()
    own = scene.own()
    family = Family(scene)
    scene.pass_time(minutes=1)
    assert family.root.issued(scene.own().leaf)
    assert scene.own().spki == own.spki
    scene.caretaker.authority_for = lambda _identity, _now: None  # and off again
    scene.pass_time(minutes=1)
    assert scene.own().self_signed
    assert scene.own().spki == own.spki
    scene.store.close()


async def test_leaves_rotate_below_it_and_it_stays(family):
    await family.scene.caretaker.first_start()
    family.scene.store.device_ca.export()
    root, seen = family.root.certificate, set()
    for _ in range(6):
        family.scene.pass_time(days=300)
        assert family.root.certificate == root
        assert family.root.issued(family.leaf.leaf)
        assert family.leaf.not_after <= root.not_valid_after_utc
        seen.add(family.leaf.id)
    assert len(seen) == 6
    assert family.codes == ["device_ca_made"]


async def test_before_its_end_it_is_renewed_with_its_key_and_told(family):
    await family.scene.caretaker.first_start()
    family.scene.store.device_ca.export()
    old, key = family.root.certificate, family.root.spki
    family.scene.names = (*NAMES[:1], "192.0.2.9")
    family.scene.pass_time(days=2440)
    assert family.root.certificate != old
    assert family.root.spki == key
    assert family.root.certificate.subject == old.subject
    assert set(family.root.names) == {*NAMES, "192.0.2.9"}  # nobody who trusts it loses a name
    assert family.codes[-1] == "device_ca_renewed"
    assert f"{old.not_valid_after_utc:%Y-%m-%d}" in family.told[-1][1].words


async def test_while_nobody_has_it_a_new_name_is_taken_up_after_ten_minutes(family):
    await family.scene.caretaker.first_start()
    family.scene.names = MORE
    family.scene.pass_time(minutes=1)
    assert "192.0.2.8" not in family.leaf.names
    family.scene.pass_time(minutes=10)
    assert "192.0.2.8" in family.root.names
    assert "192.0.2.8" in family.leaf.names
    assert family.root.issued(family.leaf.leaf)


async def test_once_somebody_has_it_a_new_name_is_told_once_and_changes_nothing(family):
    await family.scene.caretaker.first_start()
    family.scene.store.device_ca.export()
    root, leaf = family.root.certificate, family.leaf
    family.scene.names = MORE
    for minutes in (1, 5, 10, 10, 600):
        family.scene.pass_time(minutes=minutes)
    assert family.root.certificate == root
    assert family.leaf == leaf
    assert family.codes == ["device_ca_made", "device_ca_uncovered"]
    assert "192.0.2.8" in family.told[-1][1].words
    family.scene.names = NAMES
    family.scene.pass_time(minutes=1)
    family.scene.names = MORE
    family.scene.pass_time(minutes=9)
    assert family.codes.count("device_ca_uncovered") == 1


async def test_a_person_has_it_made_anew_and_the_leaf_follows_at_the_next_look(family):
    await family.scene.caretaker.first_start()
    family.scene.store.device_ca.export()
    key, leaf = family.root.spki, family.leaf
    family.scene.names = MORE
    family.scene.now += timedelta(minutes=3)
    renewed_now(family.scene.store, family.wanted(), family.scene.now)
    assert family.root.spki == key
    family.scene.pass_time(minutes=1)
    assert "192.0.2.8" in family.leaf.names
    assert family.leaf.spki == leaf.spki
    assert family.root.issued(family.leaf.leaf)
    assert family.scene.store.device_ca.is_exported


def test_nothing_is_renewed_that_isnt_there(family):
    with pytest.raises(NotFound):
        renewed_now(family.scene.store, family.wanted(), family.scene.now)


async def test_a_device_that_lost_all_its_names_keeps_the_leaf_that_clients_trust(family):
    await family.scene.caretaker.first_start()
    family.scene.store.device_ca.export()
    leaf = family.leaf
    family.scene.names = ("elsewhere.test",)
    for minutes in (1, 30):
        family.scene.pass_time(minutes=minutes)
    assert family.leaf == leaf
    assert family.codes[-1] == "device_ca_uncovered"


async def test_a_damaged_one_is_told_and_made_anew(family):
    await family.scene.caretaker.first_start()
    (file,) = family.scene.store.path.glob("authority/device-ca/ca.pem")
    file.write_bytes(b"rust")
    family.scene.store.device_ca._known = None
    old = family.leaf
    family.scene.pass_time(minutes=1)
    assert family.codes[-2:] == ["device_ca_damaged", "device_ca_made"]
    assert family.root.issued(family.leaf.leaf)
    assert family.leaf.spki == old.spki


async def test_removed_the_next_look_makes_another_one(family):
    """What a factory reset asks for."""
    await family.scene.caretaker.first_start()
    old = family.root.spki
    family.scene.store.device_ca.remove()
    family.scene.pass_time(minutes=1)
    assert family.root.spki != old
    assert family.root.issued(family.leaf.leaf)


async def test_with_a_banned_key_nothing_is_issued_from_that_moment_on_and_it_is_given_to_nobody(family):
    await family.scene.caretaker.first_start()
    store = family.scene.store
    store.device_ca.export()
    lost, leaf, hurried = family.root, family.leaf, list[bool]()
    store.device_ca.on_kept = lambda: hurried.append(True)
    receipt = store.ban(lost.spki, via="x")
    assert receipt.codes == ("device_ca_lost", "now_banned")
    assert hurried == [True], "nobody waits a minute for this"
    assert store.device_ca.current() is None
    with pytest.raises(NotFound):
        store.device_ca.export()
    assert family.leaf == leaf, "it is served until there is another, for its own key is nobody's"
    family.scene.pass_time(minutes=1)
    assert not lost.issued(family.leaf.leaf)
    assert lost.fingerprint in family.told[-1][1].words


async def test_a_banned_one_is_replaced_by_the_next_start_too(family, now):
    await family.scene.caretaker.first_start()
    lost, path = family.root, family.scene.store.path
    family.scene.store.ban(lost.spki, via="x")
    family.scene.store.close()
    scene = Scene(path, now)
    again = Family(scene)
    await scene.caretaker.first_start()
    scene.pass_time(minutes=1)
    assert again.codes == ["device_ca_banned"]
    assert again.root.spki != lost.spki
    assert again.root.issued(again.leaf.leaf)
    scene.store.close()


async def test_a_banned_authority_makes_way_for_another_one_that_nobody_has_yet(family):
    await family.scene.caretaker.first_start()
    store, before, key = family.scene.store, family.root, family.leaf.spki
    store.device_ca.export()
    store.ban(before.spki, via="test")
    family.scene.pass_time(minutes=1)
    assert family.root.spki != before.spki
    assert family.root.issued(family.leaf.leaf)
    assert family.leaf.spki == key, "the device's own key isn't lost"
    assert family.codes[-1] == "device_ca_banned"
    assert not store.device_ca.is_exported
    after = family.root
    family.scene.pass_time(minutes=1)
    assert family.root == after
    assert family.codes.count("device_ca_banned") == 1


async def test_a_banned_authority_is_not_renewed_with_its_key(family):
    await family.scene.caretaker.first_start()
    before = family.root
    family.scene.store.ban(before.spki, via="test")
    made = renewed_now(family.scene.store, family.wanted(), family.scene.now)
    assert made.spki != before.spki
