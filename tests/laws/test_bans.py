"""Whatever is done to a store, in whatever order: no banned key is served, and somebody always is."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from certstore.backup import take_backup
from certstore.bans import Reason
from certstore.bundle import Bundle
from certstore.catalogue import CATALOGUE
from certstore.departure import bundles_leaving
from certstore.examination import InProcess
from certstore.probation import BootTime
from certstore.receipts import Receipt, State
from certstore.slots import Slot, Source
from certstore.store import Store
from tests.crash.wholeness import assert_consistent
from tests.pki import Pki

CUSTOMER, ACME, FACTORY, GENERATED = Source
PKI = Pki()
KEYS = [PKI.make_key("ec") for _ in range(5)]
NAMES = (("a.test",), ("a.test", "b.test"))
BUNDLES: list[Bundle] = [PKI.leaf(names=names, key=key).bundle() for key in KEYS for names in NAMES]
OWN = PKI.leaf(names=("own.test",), issuer=None)
WITHIN_S = 100.0

sources = st.sampled_from((CUSTOMER, ACME, FACTORY))
bundles = st.sampled_from(BUNDLES)
reasons = st.sampled_from(Reason)


class Bans(RuleBasedStateMachine):
    """Beside the store, what is banned: it only grows."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.boot = BootTime("1", 0.0)
        self.banned: set[str] = set()

    @initialize()
    def begin(self) -> None:
        self.store = self.open()
        self.store.propose(OWN.bundle(), source=GENERATED, via="own", examiner=InProcess())
        self.backup = take_backup(self.store.path, datetime.now(UTC))

    def open(self) -> Store:
        return Store.open(self.folder / "s", clock=lambda: datetime.now(UTC), boot_clock=lambda: self.boot)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(source=sources, bundle=bundles, reason=reasons, waits=st.booleans())
    def propose(self, source: Source, bundle: Bundle, reason: Reason, waits: bool) -> None:  # noqa: FBT001
        receipt = self.store.propose(
            bundle,
            source=source,
            via="test",
            examiner=InProcess(),
            confirm_within_s=WITHIN_S if waits else None,
            reason=reason,
        )
        if bundle.spki in self.banned:
            assert receipt.codes[-1] == "key_banned"
        self.ended(receipt, reason)

    @rule(data=st.data(), reason=reasons)
    def remove(self, data: st.DataObject, reason: Reason) -> None:
        slot = data.draw(st.sampled_from(self.store.slots()))
        self.ended(self.store.remove(slot.key, via="test", reason=reason), reason)

    @rule(data=st.data(), reason=reasons)
    def roll_back(self, data: st.DataObject, reason: Reason) -> None:
        slot = data.draw(st.sampled_from(self.store.slots()))
        self.ended(self.store.roll_back(slot.key, via="test", reason=reason), reason)

    @rule(data=st.data())
    def activate(self, data: st.DataObject) -> None:
        generation = data.draw(st.sampled_from(self.store.generations()))
        self.store.activate(generation.number, via="test")

    @rule(bundle=st.sampled_from([*BUNDLES, OWN.bundle()]))
    def ban(self, bundle: Bundle) -> None:
        receipt = self.store.ban(
            bundle.spki, via="test", fresh=lambda: PKI.leaf(names=("own.test",), issuer=None).bundle()
        )
        assert receipt.state is State.CONFIRMED
        self.banned.add(bundle.spki)

    @rule()
    def back_up(self) -> None:
        self.backup = take_backup(self.store.path, datetime.now(UTC))

    @rule(identity=st.booleans())
    def restore(self, identity: bool) -> None:  # noqa: FBT001
        receipt = self.store.restore(self.backup, via="test", identity=identity)
        if receipt.state is State.CONFIRMED:
            self.banned |= set(self.backup.banned)

    @rule(seconds=st.sampled_from((1.0, 100.0)))
    def pass_time(self, seconds: float) -> None:
        self.boot = BootTime(self.boot.boot, self.boot.seconds + seconds)
        self.store.end_probation()

    @rule(reboots=st.booleans())
    def start_anew(self, reboots: bool) -> None:  # noqa: FBT001
        self.store.close()
        if reboots:
            self.boot = BootTime(str(int(self.boot.boot) + 1), 0.0)
        self.store = self.open()

    def ended(self, receipt: Receipt, reason: Reason) -> None:
        before = set(self.banned)
        self.banned = {ban.spki for ban in self.store.bans()}
        assert before <= self.banned
        if before != self.banned:
            assert reason is Reason.KEY_COMPROMISE
            assert receipt.state is not State.REFUSED

    @invariant()
    def none_of_the_banned_is_served_and_somebody_is(self) -> None:
        assert {ban.spki for ban in self.store.bans()} == self.banned
        active = self.store.active
        assert active is not None
        assert active.default is not None
        assert not {self.store.bundle(id_).spki for id_ in active.bundles()} & self.banned
        assert_consistent(self.store, CATALOGUE)


TestBans = Bans.TestCase
TestBans.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)

AT = datetime(2026, 11, 26, tzinfo=UTC)
ids = st.sampled_from(["a", "b", "c", "d"])
slots = st.builds(
    lambda source, name, bundle, confirmed: Slot(
        source, (name,), bundle, confirmed, "x", False, "000001-00000000", AT
    ),
    sources,
    st.sampled_from(["x.test", "y.test"]),
    ids,
    st.none() | ids,
)


@given(
    sources,
    st.lists(st.tuples(st.none() | slots, st.none() | slots)),
    st.lists(slots),
    st.sets(ids),
    st.sets(ids),
)
def test_what_leaves_was_the_source_s_and_is_served_no_more(source, moves, had, before, after) -> None:
    leaving = bundles_leaving(source, moves, had, (before, after))
    theirs = [slot for slot in (*had, *(was for was, _ in moves if was is not None)) if slot.source is source]
    assert leaving <= {id_ for slot in theirs for id_ in (slot.bundle, slot.last_confirmed)}
    assert not leaving & after
