"""The scenarios, in their order; and which are asked for but not there."""

from __future__ import annotations

from benchmarks.scenarios import bulk, connections, echo, idle, keepalive, rotation

SCENARIOS = (
    keepalive.SCENARIO,
    connections.SCENARIO,
    bulk.SCENARIO,
    idle.SCENARIO,
    echo.SCENARIO,
    rotation.SCENARIO,
)
MISSING = (
    "requests per CPU second with 2 workers against 1: there is one process",
    "1,000 rotations with memory growth: `rotation` makes a dozen",
    "10,000 names: start time, memory, first handshake",
)
