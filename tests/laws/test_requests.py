"""Whatever becomes of requests, in whatever order, with restarts: no key is lost, and none lies around."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from certstore.bundle import spki_of
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.requesting import MOST, Wish
from certstore.requests import Request
from certstore.store import Store
from tests.pki import Pki
from tests.requesting import answered, hand_in

NAMES = ("a.test", "b.test")
PKI = Pki()
WITHIN_S = 100.0
picks = st.integers(0, 10**6)


class Requests(RuleBasedStateMachine):
    """Beside the store a model: what waits, and what of it is in its probation, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.boot = BootTime("1", 0.0)
        self.waiting: dict[str, Request] = {}
        self.done: list[Request] = []
        self.on_probation: dict[str, tuple[str, str]] = {}

    @initialize()
    def begin(self) -> None:
        self.store = self.open()

    def open(self) -> Store:
        return Store.open(self.folder / "s", clock=lambda: datetime.now(UTC), boot_clock=lambda: self.boot)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
        shutil.rmtree(self.folder)

    def pick(self, pick: int) -> Request:
        return list(self.waiting.values())[pick % len(self.waiting)]

    @precondition(lambda self: len(self.waiting) < MOST)
    @rule(name=st.sampled_from(NAMES))
    def make(self, name: str) -> None:
        made = self.store.requests.make(Wish((name,)), via="law")
        self.waiting[made.id] = made

    @precondition(lambda self: self.waiting)
    @rule(pick=picks)
    def remove(self, pick: int) -> None:
        request = self.pick(pick)
        self.store.requests.remove(request.id)
        del self.waiting[request.id]

    @precondition(lambda self: self.waiting)
    @rule(pick=picks, on_probation=st.booleans())
    def answer(self, pick: int, on_probation: bool) -> None:  # noqa: FBT001
        request = self.pick(pick)
        within_s = WITHIN_S if on_probation else None
        receipt = hand_in(self.store, answered(PKI, request), confirm_within_s=within_s)
        (name,) = request.wanted.names
        if on_probation:
            assert receipt.state is State.LIVE
            self.on_probation[name] = (receipt.id, request.id)
        else:
            assert receipt.state is State.CONFIRMED
            self.on_probation.pop(name, None)
            self.finish(request.id)

    @precondition(lambda self: self.on_probation)
    @rule(pick=picks)
    def confirm(self, pick: int) -> None:
        name = list(self.on_probation)[pick % len(self.on_probation)]
        receipt, request = self.on_probation.pop(name)
        self.store.confirm(receipt, via="law")
        self.finish(request)

    @precondition(lambda self: self.on_probation)
    @rule()
    def let_go_back(self) -> None:
        self.boot = BootTime(self.boot.boot, self.boot.seconds + WITHIN_S)
        ended = self.store.end_probation()
        confirmed = {one.id for one in ended if one.state is State.CONFIRMED}  # without it nothing was served
        self.store.prune()
        for receipt, request in self.on_probation.values():
            if receipt in confirmed:
                self.finish(request)
        self.on_probation = {}

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule()
    def prune(self) -> None:
        self.store.prune(keep=0)

    def finish(self, request_id: str) -> None:
        if request_id in self.waiting:
            self.done.append(self.waiting.pop(request_id))

    @invariant()
    def each_waits_with_its_key_and_nothing_else_lies_there(self) -> None:
        if not hasattr(self, "store"):
            return
        assert {one.id for one in self.store.requests.all()} == self.waiting.keys()
        assert {path.name for path in self.store.path.glob("authority/csr/*")} == self.waiting.keys()
        for request in self.waiting.values():
            key = self.store.known_key(request.spki)
            assert key is not None
            assert spki_of(key.public_key()) == request.spki

    @invariant()
    def what_is_served_has_its_key(self) -> None:
        if hasattr(self, "store"):
            for slot in self.store.slots():
                assert self.store.bundle(slot.bundle).key is not None


TestRequests = Requests.TestCase
TestRequests.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
