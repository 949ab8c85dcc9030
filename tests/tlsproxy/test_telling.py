"""What followers are told of: each kind of event with its facts, and nothing forgotten over a reload."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from certstore import Cause, Generation, Receipt, Source, State, found
from tlsproxy.observe.events import EventLog
from tlsproxy.observe.upstreams import UpstreamStatus
from tlsproxy.telling import Teller, untold

AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def receipt(number: int, state: State = State.CONFIRMED) -> Receipt:
    id_ = f"{number:06d}-0123abcd"
    return Receipt(id_, state, Source.CUSTOMER, "test", None, None, (), {State.RECEIVED: AT})


def teller() -> Teller:
    return Teller(EventLog(lambda: AT))


def test_a_receipt_that_was_made_in_the_moment_of_the_exec_is_told_by_the_next_image() -> None:
    before = teller()
    for number in (1, 2):
        before.receipt(receipt(number))
    made = [receipt(number) for number in (4, 3, 2, 1)]  # newest first
    assert [one.id[:6] for one in untold(made, before.events.state())] == ["000003", "000004"]


def test_one_that_is_not_settled_yet_is_left_to_whoever_settles_it() -> None:
    before = teller()
    before.receipt(receipt(1))
    made = [receipt(3, State.RECEIVED), receipt(2, State.LIVE), receipt(1)]
    assert [one.id[:6] for one in untold(made, before.events.state())] == ["000002"]


def test_numbers_beyond_six_digits_count_as_numbers() -> None:
    before = teller()
    before.receipt(receipt(999_999))
    assert [one.id for one in untold([receipt(1_000_000)], before.events.state())] == ["1000000-0123abcd"]


def test_where_no_receipt_was_ever_told_nothing_is_made_up() -> None:
    assert list(untold([receipt(1)], teller().events.state())) == []


def test_what_may_still_become_more_is_remembered_until_it_has() -> None:
    telling = teller()
    telling.receipt(receipt(1, State.LIVE))
    assert telling.open_ones() == (receipt(1).id,)
    telling.receipt(receipt(1, State.SUPERSEDED))
    assert telling.open_ones() == ()


def test_generations_findings_and_reloads_have_their_facts() -> None:
    telling = teller()
    telling.served(Generation(3, (), None, (), Cause.EXPIRY, None, AT))
    telling.served(None)
    telling.finding(found("path_missing", path="/x"))
    telling.reloaded(2)
    telling.reload_refused("it is wrong", "mend it")
    kinds = [(event.kind, event.facts) for event in telling.events.after(0).events]
    assert kinds[0] == ("generation", {"generation": 3, "cause": "expiry", "receipt": None})
    assert kinds[1] == ("generation", {"generation": None, "cause": "memory", "receipt": None})
    assert kinds[2][0] == "finding"
    assert (kinds[2][1]["code"], kinds[2][1]["severity"]) == ("path_missing", "warning")
    assert kinds[3:] == [
        ("reload", {"state": "done", "epoch": 2}),
        ("reload", {"state": "refused", "why": "it is wrong", "hint": "mend it"}),
    ]


def test_an_upstream_that_is_down_or_up_again_is_told_with_the_reason() -> None:
    telling = teller()
    down = UpstreamStatus("unix:/run/a", ("/", "/api"), up=False, since=AT, why="no answer within 2 s")
    telling.upstream(down)
    telling.upstream(replace(down, up=True))
    facts = {"upstream": "unix:/run/a", "routes": ["/", "/api"]}
    assert [(event.kind, event.facts) for event in telling.events.after(0).events] == [
        ("upstream", {**facts, "state": "down", "why": "no answer within 2 s"}),
        ("upstream", {**facts, "state": "up", "why": ""}),
    ]
