"""Whatever is done to a store, in whatever order, with reboots between: whole, lit, and gone back right."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from certstore.bundle import Bundle
from certstore.erasure import Reset, Scope
from certstore.errors import NotFound
from certstore.examination import InProcess
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.slots import Source, slot_id
from certstore.store import Store
from tests.crash.wholeness import assert_consistent
from tests.pki import Pki

CUSTOMER, ACME, _, GENERATED = Source
NAMES = ("a.test", "b.test")
PKI = Pki()
BUNDLES: dict[str, list[Bundle]] = {
    name: [PKI.leaf(names=(name,)).bundle() for _ in range(4)] for name in NAMES
}
OWNS = cycle(PKI.leaf(names=("own.test",), issuer=None).bundle() for _ in range(4))
WITHIN_S = 100.0

sources = st.sampled_from((CUSTOMER, ACME))
names = st.sampled_from(NAMES)
picks = st.integers(0, 3)

Key = tuple[Source, str]


class Changes(RuleBasedStateMachine):
    """Beside the store a model: what each slot has, what was confirmed last, when it goes back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.boot = BootTime("1", 0.0)
        self.now: dict[Key, str] = {}
        self.confirmed: dict[Key, str] = {}
        self.ends: dict[Key, float] = {}
        self.receipts: dict[Key, str] = {}
        self.history: dict[int, dict[Key, str]] = {}

    @initialize()
    def begin(self) -> None:
        self.store = self.open()
        self.store.propose(next(OWNS), source=GENERATED, via="own", examiner=InProcess())
        self.remember()

    def open(self) -> Store:
        return Store.open(self.folder / "s", clock=lambda: datetime.now(UTC), boot_clock=lambda: self.boot)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(source=sources, name=names, pick=picks, waits=st.booleans())
    def propose(self, source: Source, name: str, pick: int, waits: bool) -> None:  # noqa: FBT001
        key, bundle = (source, slot_id([name])), BUNDLES[name][pick]
        already = self.now.get(key) == bundle.id and key not in self.ends
        receipt = self.store.propose(
            bundle,
            source=source,
            via="test",
            examiner=InProcess(),
            confirm_within_s=WITHIN_S if waits else None,
        )
        assert receipt.state is not State.REFUSED
        if already:
            assert "already_live" in receipt.codes
        elif waits and self.confirmed.get(key) != bundle.id:
            assert receipt.state is State.LIVE
            self.now[key], self.receipts[key] = bundle.id, receipt.id
            self.ends[key] = self.boot.seconds + WITHIN_S
        else:
            self.settle(key, bundle.id)
        self.remember()

    @rule(source=sources, name=names)
    def roll_back(self, source: Source, name: str) -> None:
        key = (source, slot_id([name]))
        before, waits = self.now.get(key), key in self.ends
        try:
            receipt = self.store.roll_back(key, via="test")
        except NotFound:
            assert before is None
            return
        if waits:
            assert receipt.state is State.CONFIRMED
            self.settle(key, self.confirmed.get(key))
        elif receipt.state is State.CONFIRMED:
            assert receipt.bundle != before
            self.settle(key, receipt.bundle)
        else:
            assert receipt.codes[0] in {"nothing_before", "nothing_before_removal"}
        self.remember()

    @rule(source=sources, name=names)
    def remove(self, source: Source, name: str) -> None:
        key = (source, slot_id([name]))
        try:
            receipt = self.store.remove(key, via="test")
        except NotFound:
            assert key not in self.now
        else:
            assert receipt.state is State.CONFIRMED
            self.settle(key, None)
            self.remember()

    @precondition(lambda self: self.ends)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.ends)))
        assert self.store.confirm(self.receipts[key], via="test").state is State.CONFIRMED
        self.settle(key, self.now[key])

    @rule(seconds=st.sampled_from((1.0, 50.0, 100.0)))
    def pass_time(self, seconds: float) -> None:
        self.boot = BootTime(self.boot.boot, self.boot.seconds + seconds)
        over = {key for key, ends in self.ends.items() if ends <= self.boot.seconds}
        assert len(self.store.end_probation()) == len(over)
        for key in over:
            self.settle(key, self.confirmed.get(key))
        self.remember()

    @rule(data=st.data())
    def activate(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.history)))
        receipt = self.store.activate(number, via="test")
        assert receipt.state is State.CONFIRMED, receipt.codes
        then = self.history[number]
        for key in {*then, *self.now}:
            slot = next((slot for slot in self.store.slots() if slot.key == key), None)
            if slot is not None and not slot.is_confirmed:
                assert self.now[key] == slot.bundle  # it is what waits for confirmation already, and goes on
            else:
                self.settle(key, then.get(key))
        self.remember()

    @rule(scopes=st.sampled_from(([Scope.CUSTOMER], [Scope.IDENTITY], list(Scope))))
    def reset(self, scopes: list[Scope]) -> None:
        own = next(OWNS) if Scope.IDENTITY in scopes else None
        receipt = self.store.reset(Reset(frozenset(scopes), own), via="test")
        assert receipt.state is State.CONFIRMED
        if Scope.CUSTOMER in scopes:
            for key in list(self.now):
                self.settle(key, None)
        assert [number for number in self.history if number in self.store._archive.numbers()] == []
        assert self.store.watches_suspended or Scope.CUSTOMER not in scopes
        self.history = {}
        self.remember()

    @rule(reboots=st.booleans())
    def start_anew(self, reboots: bool) -> None:  # noqa: FBT001
        self.store.close()
        if reboots:
            self.boot = BootTime(str(int(self.boot.boot) + 1), 0.0)
            for key in list(self.ends):
                self.settle(key, self.confirmed.get(key))
        self.store = self.open()
        assert len(self.store.recovered) == len(self.store.settled)
        self.remember()

    def settle(self, key: Key, bundle: str | None) -> None:
        """Have a slot confirmed with this bundle, or gone."""
        self.ends.pop(key, None)
        for table in (self.now, self.confirmed):
            table.pop(key, None)
            if bundle is not None:
                table[key] = bundle

    def remember(self) -> None:
        active = self.store.active
        assert active is not None
        self.history[active.number] = {
            slot.key: slot.bundle for slot in active.slots if slot.source is not GENERATED
        }

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        slots = [slot for slot in self.store.slots() if slot.source is not GENERATED]
        assert {slot.key: slot.bundle for slot in slots} == self.now
        assert {slot.key for slot in slots if not slot.is_confirmed} == set(self.ends)
        confirmed = {slot.key: slot.last_confirmed for slot in slots if slot.last_confirmed is not None}
        assert confirmed == {key: id_ for key, id_ in self.confirmed.items() if key in self.now}

    @invariant()
    def it_is_whole_and_somebody_is_served(self) -> None:
        assert self.store.active is not None
        assert self.store.active.default is not None
        assert_consistent(self.store)


TestChanges = Changes.TestCase
TestChanges.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
