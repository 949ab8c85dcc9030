"""The events of a running proxy: numbered, the latest kept, for followers that may come back later.

Promises: a number is given once and only grows, over reloads too, which take the log along (`state`); who
asks for what came after a number gets every event since, once and in order, or is told how many are gone. Any
thread may add. Refuses to know who follows, how an event reaches them, and what it means.

Theory. *A stream, not a diary.* Events are not written to disk: what matters for good is there already
(receipts, generations), and a device's flash is not worn by telling. So a restart begins a new stream, with
numbers from 1 and another random name, and a follower that names the stream it knows is told that it missed
something, instead of being given the wrong events under its number. A reload is no restart: it carries the
stream on, and no event can come between the copy and the exec, since both are one step of the event loop
(reload.py), and what threads tell waits for the lock or comes too late to be anybody's.
*No buffer for each follower.* All read the same ring, each at its own place. Who is too slow finds that the
ring has moved on, which is `lost`; what it costs us is nothing.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import msgspec

__all__ = ["EVENTS_KEPT", "Event", "EventLog", "EventsState"]

# Enough for some hours of a busy device, or a follower that is away for a night; 0.5 MB.
EVENTS_KEPT = 1_000


class Event(msgspec.Struct, frozen=True):
    """Something that happened; `facts` is JSON-ready and holds nothing secret."""

    number: int
    at: datetime
    kind: str
    facts: dict[str, object]

    def to_json(self, stream: str) -> dict[str, object]:
        """Give what followers get."""
        return {
            "stream": stream,
            "number": self.number,
            "at": self.at.isoformat(),
            "kind": self.kind,
            **self.facts,
        }


class EventsState(msgspec.Struct, frozen=True):
    """A log as a reload takes it along."""

    stream: str
    newest: int
    events: list[Event]


@dataclass(frozen=True, slots=True)
class After:
    """What came after a number: the events that are kept, and how many before them are gone."""

    lost: int
    events: tuple[Event, ...]


class EventLog:
    """Keeps the latest events. `stream` names this log; `newest` is the last number that was given."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        state: EventsState | None = None,
        keep: int = EVENTS_KEPT,
    ) -> None:
        """Take the time, and what the image before us kept."""
        self._clock = clock
        self._adding = threading.Lock()
        self.stream = state.stream if state is not None else secrets.token_hex(8)
        self.newest = state.newest if state is not None else 0
        self._events: deque[Event] = deque(state.events if state is not None else (), maxlen=keep)
        self._wakers: list[Callable[[], None]] = []

    def add(self, kind: str, facts: Mapping[str, object]) -> Event:
        """Add an event and wake all followers; from any thread."""
        with self._adding:
            event = Event(self.newest + 1, self._clock(), kind, dict(facts))
            self._events.append(event)
            self.newest = event.number
            for wake in self._wakers:
                wake()
        return event

    def after(self, number: int, most: int = EVENTS_KEPT) -> After:
        """Give what came after a number, oldest first, at most so many; `lost` counts what is not kept."""
        with self._adding:
            oldest = self._events[0].number if self._events else self.newest + 1
            lost = max(oldest - 1 - number, 0)
            skip = max(number - oldest + 1, 0)
            return After(lost, tuple(islice(self._events, skip, skip + most)))

    @property
    def oldest(self) -> int:
        """The number of the oldest event that is kept, or that the next one will get."""
        with self._adding:
            return self._events[0].number if self._events else self.newest + 1

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called, from whatever thread, after each event; gives what ends that."""
        with self._adding:
            self._wakers.append(wake)

        def unsubscribe() -> None:
            with self._adding:
                self._wakers.remove(wake)

        return unsubscribe

    def state(self) -> EventsState:
        """Give what a reload takes along."""
        with self._adding:
            return EventsState(self.stream, self.newest, list(self._events))
