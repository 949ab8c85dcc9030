"""The guard at a start, over real stores: a copied one gets a new key; nobody's certificate is touched."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certstore import (
    Bundle,
    Challenge,
    Finding,
    Identity,
    KeyType,
    Registration,
    Scope,
    Seen,
    Source,
    State,
    Store,
    StoreNotWritable,
    Wish,
)
from certstore.atomic import Disk
from certstore.issuers import selfsigned
from certstore.issuers.acme.accounts import Account, Accounts
from certstore.issuers.acme.enrolment import Enrolment, Enrolments
from certstore.issuers.acme.jws import new_key
from certstore.unit import Unit
from tests.requesting import answered, hand_in
from tests.storing import NotingPublisher, propose
from tlsproxy.resetting import wish
from tlsproxy.unitguard import UnitGuard

CUSTOMER, ACME, FACTORY, GENERATED = Source
UNIT_A, UNIT_B = Seen({"dmi-uuid": "a"}, "0" * 32), Seen({"dmi-uuid": "b"}, "0" * 32)


def clock() -> datetime:
    return datetime.now(UTC)


def fresh() -> Bundle:
    return selfsigned.issue(Identity(("own.test",), "", "own.test"), selfsigned.new_key(), clock())


class Start:
    """One start of a proxy, as far as the guard is concerned."""

    def __init__(self, store: Store, seen: Seen, *troubles: Finding) -> None:
        self.store, self.told = store, list[str]()
        self.guard = UnitGuard(
            store, lambda: (seen, troubles), self.renew, lambda f: self.told.append(f.code)
        )
        self.failure: Exception | None = None

    def renew(self):
        if self.failure is not None:
            raise self.failure
        return self.store.reset(wish(["identity"], self.store.path, Path("/none"), fresh), via="identity")

    @property
    def standing(self) -> list[str]:
        return [finding.code for finding in self.guard.standing]

    def keys(self) -> dict[Source, str]:
        return {slot.source: self.store.meta(slot.bundle).spki for slot in self.store.slots()}


@pytest.fixture
def path(tmp_path, pki):
    """A store that was made on unit A, and has something of everybody's."""
    path = tmp_path / "a"
    with Store.open(path, clock=clock) as store:
        Registration(path).save(Unit.of("salt", UNIT_A))
        propose(store, pki.leaf(names=("own.test",), issuer=None), GENERATED)
        propose(store, pki.leaf(names=("factory.test",)), FACTORY)
        propose(store, pki.leaf())
    return path


async def test_on_its_own_unit_nothing_happens_and_nothing_is_written(path):
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*.json")}
    with Store.open(path, clock=clock) as store:
        start = Start(store, UNIT_A)
        await start.guard.settle()
        assert (start.told, start.standing) == ([], [])
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*.json")} == before


async def test_a_copied_store_gets_a_new_key_and_says_whose_keys_it_has_until_they_are_gone(
    path, tmp_path, pki
):
    copy = tmp_path / "b"
    shutil.copytree(path, copy)
    with Store.open(copy, clock=clock) as store:
        start = Start(store, UNIT_B)
        before = start.keys()
        await start.guard.settle()
        after = start.keys()
        assert after.keys() == before.keys()
        assert {source for source in before if before[source] != after[source]} == {GENERATED}
        assert start.told == ["cloned_image", "foreign_keys", "foreign_keys"]
        assert start.standing == ["foreign_keys"] * 2
    assert not any(before[GENERATED] in file.read_text() for file in copy.rglob("meta.json"))
    with Store.open(copy, clock=clock) as store:  # the next start
        start = Start(store, UNIT_B)
        await start.guard.settle()
        assert start.keys() == after
        assert start.told == start.standing == ["foreign_keys"] * 2
        propose(store, pki.leaf())  # the customer has it issued anew
        assert start.standing == ["foreign_keys"]
        store.reset(wish(["customer"], copy, Path("/none"), fresh), via="x")
        assert start.standing == ["foreign_keys"]  # the factory's stays, and so does the warning


async def test_a_copy_that_cant_be_settled_is_told_and_tried_again_at_the_next_start(path, tmp_path):
    copy = tmp_path / "b"
    shutil.copytree(path, copy)
    record = (copy / "unit.json").read_bytes()
    with Store.open(copy, clock=clock) as store:
        start = Start(store, UNIT_B)
        start.failure = StoreNotWritable(copy, "no space left on device")
        await start.guard.settle()
        assert start.told == start.standing == ["clone_not_settled", *["foreign_keys"] * 2, "image_with_key"]
    assert (copy / "unit.json").read_bytes() == record
    publisher = NotingPublisher(lambda _: 1 / 0)
    with Store.open(copy, clock=clock, publisher=publisher) as store:
        start = Start(store, UNIT_B)
        await start.guard.settle()  # refused by the workers
        assert start.told[0] == "clone_not_settled"
    with Store.open(copy, clock=clock) as store:
        start = Start(store, UNIT_B)
        await start.guard.settle()
        assert start.told[0] == "cloned_image"


async def test_a_key_that_came_with_an_image_is_told_until_there_is_a_new_one(path, tmp_path):
    (path / "unit.json").unlink()
    for _ in range(2):
        with Store.open(path, clock=clock) as store:
            start = Start(store, UNIT_A)
            await start.guard.settle()
            assert start.told == start.standing == ["image_with_key"]
    with Store.open(path, clock=clock) as store:
        start = Start(store, UNIT_A)
        await start.guard.settle()
        start.renew()
        assert start.standing == []


async def test_what_was_brought_to_a_store_before_its_first_start_is_no_reason_for_suspicion(tmp_path, pki):
    with Store.open(tmp_path / "s", clock=clock) as store:
        propose(store, pki.leaf())
        start = Start(store, UNIT_A)
        await start.guard.settle()
        assert (start.told, start.standing) == ([], [])


async def test_another_machine_id_is_told_once(path):
    for told in (["machine_id_changed"], []):
        with Store.open(path, clock=clock) as store:
            start = Start(store, Seen({"dmi-uuid": "a"}, "1" * 32))
            await start.guard.settle()
            assert (start.told, start.standing) == (told, [])


async def test_a_damaged_record_is_made_again_and_nothing_is_concluded_from_it(path):
    (path / "unit.json").write_bytes(b"\0\0")
    for told in (["unit_record_damaged"], []):
        with Store.open(path, clock=clock) as store:
            start = Start(store, UNIT_B)
            await start.guard.settle()
            assert (start.told, start.standing) == (told, [])


async def test_a_disk_that_takes_no_write_keeps_no_start_from_serving(path):
    def refuse(step: str, where: Path) -> None:
        if "unit" in where.name:
            raise OSError(28, "No space left on device")

    with Store.open(path, clock=clock) as store:
        start = Start(store, Seen({"dmi-uuid": "a", "dmi-serial": "s"}, "0" * 32))
        start.guard._registration = Registration(path, Disk(refuse))
        await start.guard.settle()
        assert start.told == ["store_read_only"]


async def test_a_store_of_a_newer_version_is_not_written_to(path):
    (path / "FORMAT").write_text("999\n")
    record = (path / "unit.json").read_bytes()
    with Store.open(path, clock=clock) as store:
        start = Start(store, UNIT_B)
        await start.guard.settle()
        assert "clone_not_settled" in start.standing
    assert (path / "unit.json").read_bytes() == record


def test_the_words_of_the_command_are_the_scopes_of_the_store():
    assert {scope.value for scope in Scope} == {"customer", "identity"}


async def test_a_copy_lets_go_of_the_key_that_waits_for_the_manufacturer(tmp_path):
    path, copy = tmp_path / "golden", tmp_path / "b"
    with Store.open(path, clock=clock) as store:
        Registration(path).save(Unit.of("salt", UNIT_A))
        asked = store.factory.request(Identity(("px-1.test",), "PX-1", "px-1.test"))
        assert asked.request
        await Start(store, UNIT_A).guard.settle()
        assert store.factory.state().request == asked.request, "its own stays"
    shutil.copytree(path, copy)
    with Store.open(copy, clock=clock) as store:
        start = Start(store, UNIT_B)
        await start.guard.settle()
        assert "factory_request_foreign" in start.told
        assert not store.factory.state().request
    assert not (copy / "authority" / "factory" / "request").exists()


async def test_a_copy_lets_go_of_requests_whose_keys_both_units_have_and_says_which(path, tmp_path, pki):
    with Store.open(path, clock=clock) as store:
        asked = store.requests.make(Wish(("pump.test",)), via="x")
        await Start(store, UNIT_A).guard.settle()
        assert store.requests.all() == (asked,), "its own stays"
    copy = tmp_path / "b"
    shutil.copytree(path, copy)
    with Store.open(copy, clock=clock) as store:
        words = list[str]()
        start = Start(store, UNIT_B)
        start.guard._tell = lambda finding: words.append(f"{finding.code} {finding.words} {finding.hint}")
        await start.guard.settle()
        (told,) = [one for one in words if one.startswith("requests_foreign")]
        assert asked.id in told
        assert "csr --name" in told
        assert store.requests.all() == ()
    assert not any((copy / "authority" / "csr").iterdir())
    with Store.open(copy, clock=clock) as store:
        mine = store.requests.make(Wish(("pump.test",)), via="x")
        start = Start(store, UNIT_B)
        await start.guard.settle()
        assert "requests_foreign" not in start.told
        assert store.requests.all() == (mine,)


async def test_a_copy_lets_go_of_the_account_with_an_acme_authority(path, tmp_path):
    with Store.open(path, clock=clock) as store:
        accounts, enrolments = Accounts(path, Disk()), Enrolments(path, Disk())
        accounts.add(Account("", "https://ca.test/dir", (), clock()), new_key())
        enrolments.enrol(
            Enrolment(
                "https://ca.test/dir", ("a.test",), Challenge.HTTP_01, KeyType.EC, None, None, "", clock()
            )
        )
        start = Start(store, UNIT_A)
        await start.guard.settle()
        assert "acme_account_foreign" not in start.told
        assert store.is_enrolled, "its own stays"
    copy = tmp_path / "b"
    shutil.copytree(path, copy)
    with Store.open(copy, clock=clock) as store:
        start = Start(store, UNIT_B)
        await start.guard.settle()
        assert "acme_account_foreign" in start.told
        assert not store.is_enrolled
    assert not any((copy / "authority" / "accounts").iterdir())


async def test_a_renewal_that_waited_on_another_unit_is_asked_for_anew_with_a_key_of_this_one(tmp_path, pki):
    times = [clock()]
    path, copy = tmp_path / "a", tmp_path / "b"
    with Store.open(path, clock=lambda: times[-1]) as store:
        Registration(path).save(Unit.of("salt", UNIT_A))
        propose(store, pki.leaf(names=("own.test",), issuer=None), GENERATED)
        first = store.requests.make(Wish(("pump.test",)), via="x")
        receipt = hand_in(store, answered(pki, first))
        assert receipt.state is State.CONFIRMED
        assert receipt.bundle is not None
        times.append(store.bundle(receipt.bundle).not_after - timedelta(days=1))
        foreign = store.requests.prepare()
        assert foreign is not None
        assert store.requests.prepare() is None, "once is enough"
    shutil.copytree(path, copy)
    with Store.open(copy, clock=lambda: times[-1]) as store:
        await Start(store, UNIT_B).guard.settle()
        assert store.requests.all() == ()
        own = store.requests.prepare()
        assert own is not None
        assert own.spki != foreign.spki
        assert own.wanted.names == foreign.wanted.names
