"""The event log: numbers that only grow, the latest kept, and nothing lost without a word."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.observe.events import Event, EventLog, EventsState

AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def log_of(count: int, keep: int = 5, state: EventsState | None = None) -> EventLog:
    log = EventLog(lambda: AT, state, keep)
    for n in range(count):
        log.add("worker", {"n": n})
    return log


@given(st.integers(0, 12), st.integers(0, 15), st.integers(1, 6))
def test_what_came_after_a_number_is_lost_or_given_once_and_in_order(
    count: int, after: int, keep: int
) -> None:
    found = log_of(count, keep).after(after)
    numbers = [event.number for event in found.events]
    assert numbers == sorted(set(numbers))
    assert found.lost + len(numbers) == max(count - after, 0)
    if numbers:
        assert numbers == list(range(after + found.lost + 1, count + 1))


@given(st.integers(0, 8), st.integers(1, 5))
def test_in_pieces_it_is_the_same_as_at_once(count: int, piece: int) -> None:
    log, place = log_of(count, keep=8), 0
    got: list[Event] = []
    while events := log.after(place, piece).events:
        got += events
        place = events[-1].number
    assert tuple(got) == log.after(0).events


def test_an_event_tells_its_stream_number_time_and_facts() -> None:
    log = log_of(0)
    event = log.add("reload", {"state": "done", "epoch": 2})
    assert event.to_json(log.stream) == {
        "stream": log.stream,
        "number": 1,
        "at": "2026-11-25T12:00:00+00:00",
        "kind": "reload",
        "state": "done",
        "epoch": 2,
    }


def test_a_reload_goes_on_where_the_image_before_stood() -> None:
    before = log_of(7)
    state = msgspec.json.decode(msgspec.json.encode(before.state()), type=EventsState)
    log = log_of(2, state=state)
    assert (log.stream, log.newest, log.oldest) == (before.stream, 9, 5)
    assert log.after(4).events[:3] == before.after(4).events


def test_a_restart_is_another_stream() -> None:
    assert log_of(0).stream != log_of(0).stream


def test_followers_are_woken_by_each_event_from_any_thread_until_they_leave() -> None:
    log, woken = log_of(0), []
    unsubscribe = log.subscribe(lambda: woken.append(log.newest))
    threads = [threading.Thread(target=log.add, args=("worker", {})) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    unsubscribe()
    log.add("worker", {})
    assert woken == [1, 2, 3]
    assert [event.number for event in log.after(0).events] == [1, 2, 3, 4]
