"""The scenarios, in their order; and which are asked for but not there."""

from __future__ import annotations

from benchmarks.scenarios import bulk, connections, echo, idle, keepalive, rotation, workers

SCENARIOS = (
    keepalive.SCENARIO,
    connections.SCENARIO,
    bulk.SCENARIO,
    idle.SCENARIO,
    echo.SCENARIO,
    workers.SCENARIO,
    rotation.SCENARIO,
)
MISSING = ("10,000 names: start time, memory, first handshake",)
