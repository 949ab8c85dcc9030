"""Who stands before a worker's upstreams, made from its first word: what routes share is shared here too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import random

import trio

from tlsproxy.config.values import BreakerConfig
from tlsproxy.upstream.breaker import Breaker
from tlsproxy.upstream.guard import Checked, Circuit, Guard, Guards
from tlsproxy.upstream.room import Room
from tlsproxy.workers.messages import Setup

__all__ = ["guards_of", "rooms_of"]


def guards_of(setup: Setup, tell: Callable[[str, str], None]) -> Guards | None:
    """Make all guards; None where no route needs any. tell: gets an upstream and its breaker's word."""
    if not setup.health and not setup.rooms:
        return None
    upstreams = dict(setup.routes)
    checked: dict[tuple[str, str], Checked] = {}
    circuits: dict[str, Circuit] = {}
    by_route = {}
    for path, (check, breaker) in setup.health.items():
        upstream = upstreams[path]
        if check is not None:
            checked.setdefault((upstream, check.path), Checked())
        if breaker is not None and upstream not in circuits:
            circuits[upstream] = _circuit(breaker, partial(tell, upstream))
        by_route[path] = Guard(
            upstream,
            checked[upstream, check.path] if check is not None else None,
            circuits[upstream] if breaker is not None else None,
            trio.current_time,
            random,
        )
    guards = Guards(by_route, trio.current_time, checked)
    for one in setup.checked:
        guards.note(one.upstream, one.path, one.retry_s, one.holds_s)
    return guards


def rooms_of(setup: Setup) -> dict[str, Room]:
    """Make the rooms of upstreams; who finds no place waits for as long as connecting may take."""
    patience_s = setup.limits.connect_s
    return {name: Room(name, places, patience_s, random) for name, places in setup.rooms.items()}


def _circuit(wanted: BreakerConfig, tell: Callable[[str], None]) -> Circuit:
    breaker = Breaker(wanted.failures, wanted.within_s, wanted.down_s)
    return Circuit(breaker, frozenset(wanted.status), trio.current_time, tell)
