"""What a supervisor hands over to itself: counters too, and nothing that an older one did not know."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import msgspec

from tlsproxy import handover
from tlsproxy.handover import HandedOver, WorkerState
from tlsproxy.metering import first_sums
from tlsproxy.workers.messages import Counts
from tlsproxy.workers.testimony import Names

KEY = ("tlsproxy_requests_total", "/", "2xx")
FACTS = {
    "epoch": 1,
    "since": datetime(2026, 11, 25, tzinfo=UTC),
    "store": "/s",
    "runtime": "/r",
    "doors": [],
    "lock_fd": 3,
    "control_fd": 4,
    "memory_fd": 5,
}


def over(state: HandedOver) -> HandedOver:
    fd = handover.write(state)
    try:
        return handover.read(fd)
    finally:
        os.close(fd)


def test_what_was_counted_goes_over_whole():
    counts = Counts([(KEY, 7.0)], [(("tlsproxy_connections",), 2.0)], [("a.test", 3.0)], [("a.test", True)])
    names = Names(("/",), ("http://127.0.0.1:3000",))
    state = handover.make(
        workers=[WorkerState(1, 0, 1, 2, 9, 2, counts=counts, names=names)],
        sums=[(KEY, 35.0)],
        asked=[("b.test", 4.0)],
        strict=[("b.test", False)],
        **FACTS,
    )
    found = over(state)
    assert (found.workers[0].counts, found.workers[0].names) == (counts, names)
    assert first_sums(found.sums)[KEY] == 35.0
    assert (found.asked, found.strict) == ([("b.test", 4.0)], [("b.test", False)])


def test_a_state_is_written_whole_however_little_the_system_takes_at_once(monkeypatch):
    """Half a state would end the new image, and with it everything that was handed over."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
    state = handover.make(workers=[], **FACTS)
    assert over(state) == state


def test_an_image_that_counted_nothing_hands_over_nothing():
    state = handover.make(workers=[WorkerState(1, 0, 1, 2, 9, 2)], **FACTS)
    document = msgspec.json.decode(msgspec.json.encode(state))
    del document["asked"], document["strict"]
    del document["sums"], document["workers"][0]["counts"], document["workers"][0]["names"]
    older = msgspec.convert(document, HandedOver)
    assert (older.sums, older.workers[0].counts) == ([], None)
    assert first_sums(older.sums)[KEY] == 0.0
