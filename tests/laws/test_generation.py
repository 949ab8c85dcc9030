"""The laws of precedence, held against any table of slots.

The oracle below says for one name who may be served, in the words of the design; it shares no code with
`compute`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.generation import BundleFacts, compute
from certstore.names import covers
from certstore.slots import Slot, Source

NOW = datetime(2026, 11, 20, tzinfo=UTC)
# few, so that they collide: hosts, wildcards over some of them, a deeper host, addresses
NAMES = ["a.x", "b.x", "c.a.x", "*.x", "*.a.x", "x", "y", "*.y", "10.0.0.1", "fd00::1"]


Contender = tuple[Slot, str, BundleFacts]


@dataclass(frozen=True)
class Case:
    slots: tuple[Slot, ...]
    facts: dict[str, BundleFacts]

    def standing(self, slot: Slot) -> str | None:
        """The bundle that really stands for a slot."""
        return next(
            (b for b in (slot.bundle, slot.last_confirmed) if b is not None and b in self.facts), None
        )

    @property
    def contenders(self) -> list[Contender]:
        return [(s, b, self.facts[b]) for s in self.slots if (b := self.standing(s)) is not None]


@st.composite
def cases(draw) -> Case:
    slots: dict[tuple[Source, str], Slot] = {}
    facts: dict[str, BundleFacts] = {}
    for index in range(draw(st.integers(0, 6))):
        names = tuple(sorted(draw(st.sets(st.sampled_from(NAMES), max_size=4))))
        bundle, confirmed = f"{2 * index:064x}", f"{2 * index + 1:064x}"
        slot = Slot(
            source=draw(st.sampled_from(list(Source))),
            names=names,
            bundle=bundle,
            last_confirmed=draw(st.sampled_from([None, confirmed])),
            via="law",
            sealed=False,
            receipt=f"{index:06d}-00000000",
            stored_at=NOW,
            since=index,  # a generation brings one slot
        )
        for one in (bundle, confirmed):
            if draw(st.integers(0, 4)):  # one in five can't be loaded
                start = NOW + timedelta(days=draw(st.integers(-400, 10)))
                end = NOW + timedelta(days=draw(st.integers(-20, 100)))
                facts[one] = BundleFacts(names, start, end, draw(st.booleans()))
        slots[slot.key] = slot
    order = draw(st.permutations(list(slots.values())))
    return Case(tuple(order), facts)


def best(contenders: Sequence[Contender], name: str | None) -> str:
    """Who has the name by precedence alone; None: strangers."""

    def beats(one: Contender, other: Contender) -> bool:
        if one[0].source is not other[0].source:
            return one[0].source.rank < other[0].source.rank
        if name is not None and (name in one[2].names) != (name in other[2].names):
            return name in one[2].names
        return one[0].since > other[0].since

    (winner,) = [one for one in contenders if all(one is other or beats(one, other) for other in contenders)]
    return winner[1]


def may_rescue(slot: Slot, facts: BundleFacts) -> bool:
    valid = facts.not_before <= NOW <= facts.not_after
    return valid and not facts.self_signed and slot.source is not Source.GENERATED


@given(cases())
def test_every_name_goes_to_the_highest_source_that_covers_it_then_to_the_exact_then_to_the_newest(case):
    rows, default, _ = compute(case.slots, case.facts, NOW, False)
    assert [row.pattern for row in rows] == sorted(
        {n for _, _, facts in case.contenders for n in facts.names}
    )
    for row in rows:
        covering = [c for c in case.contenders if any(covers(n, row.pattern) for n in c[2].names)]
        assert row.bundle == best(covering, row.pattern)
        assert any(c[1] == row.bundle and c[0].source is row.source for c in covering)
    if case.contenders:
        assert default == best(case.contenders, None)


@given(cases())
def test_expiry_moves_a_row_only_to_a_valid_bundle_that_a_stranger_to_the_device_could_trust(case):
    plain, plain_default, _ = compute(case.slots, case.facts, NOW, False)
    rows, default, _ = compute(case.slots, case.facts, NOW, True)
    pairs: list[tuple[str | None, str, str]]
    pairs = [(p.pattern, p.bundle, r.bundle) for p, r in zip(plain, rows, strict=True)]
    if plain_default is not None and default is not None:
        pairs.append((None, plain_default, default))
    for name, before, after in pairs:
        rescuers = [
            c
            for c in case.contenders
            if may_rescue(c[0], c[2]) and (name is None or any(covers(n, name) for n in c[2].names))
        ]
        if case.facts[before].not_after >= NOW or not rescuers:
            assert after == before
        else:
            assert after == best(rescuers, name)


@pytest.mark.parametrize("plausible", [True, False])
@given(case=cases())
def test_while_any_bundle_can_be_loaded_there_is_a_default(plausible, case):
    rows, default, _ = compute(case.slots, case.facts, NOW, plausible)
    assert (default is not None) == bool(case.contenders)
    assert {row.bundle for row in rows} <= set(case.facts)
    assert default is None or default in case.facts


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_in_which_slots_are_told_changes_nothing(case, random):
    shuffled = list(case.slots)
    random.shuffle(shuffled)
    assert compute(shuffled, case.facts, NOW, True) == compute(case.slots, case.facts, NOW, True)
