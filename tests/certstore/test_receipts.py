from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from certstore.findings import found
from certstore.receipts import MOVES, Receipt, State, receipt_id, sequence_of
from certstore.slots import Source

AT = datetime(2026, 11, 20, tzinfo=UTC)
RECEIVED = Receipt(
    "000007-0badcafe", State.RECEIVED, Source.CUSTOMER, "inbox", None, None, (), {State.RECEIVED: AT}
)


def test_a_receipt_is_live_then_confirmed_and_tells_when():
    later = AT + timedelta(seconds=1)
    live = replace(RECEIVED, bundle="a" * 64).advance(State.LIVE, later, 3)
    assert (live.live_at, live.generation, live.is_settled) == (later, 3, False)
    confirmed = live.advance(State.CONFIRMED, later)
    assert (confirmed.generation, confirmed.is_settled) == (3, True)
    assert list(confirmed.times) == [State.RECEIVED, State.LIVE, State.CONFIRMED]
    assert confirmed.received_at == AT
    assert RECEIVED.live_at is None


def test_no_step_is_possible_but_those_of_the_table():
    for start, end in product(State, State):
        receipt = replace(RECEIVED, state=start)
        if end in MOVES[start]:
            assert receipt.advance(end, AT).state is end
        else:
            with pytest.raises(ValueError, match=f"can't go from {start} to {end}"):
                receipt.advance(end, AT)


def test_every_state_is_in_the_table_and_can_be_reached():
    assert set(MOVES) == set(State)
    assert {end for ends in MOVES.values() for end in ends} == set(State) - {State.RECEIVED}


def test_a_receipt_comes_back_from_its_file_as_it_was():
    refused = RECEIVED.with_findings((found("interrupted"), found("already_live"))).advance(State.REFUSED, AT)
    assert refused.codes == ("interrupted", "already_live")
    for receipt in (RECEIVED, refused, replace(RECEIVED, bundle="a" * 64).advance(State.LIVE, AT, 9)):
        assert Receipt.from_json(receipt.to_json()) == receipt


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "../active"),
        ("id", "7"),
        ("state", "lost"),
        ("times", []),
        ("times", {"received": 5}),
        ("times", {"born": "2026-11-20T00:00:00+00:00"}),
        ("generation", "1"),
        ("bundle", "x"),
        ("findings", {}),
        ("findings", [{"code": "x"}]),
        ("findings", ["x"]),
    ],
)
def test_a_damaged_receipt_is_noticed_when_it_is_read(field, value):
    with pytest.raises(ValueError):
        Receipt.from_json({**RECEIVED.to_json(), field: value})


def test_receipts_are_ordered_by_their_number_beyond_six_digits_too():
    assert sequence_of(receipt_id(1, "00000000")) == 1
    assert sequence_of(receipt_id(1_234_567, "00000000")) == 1_234_567
    with pytest.raises(ValueError):
        sequence_of("receipt")
