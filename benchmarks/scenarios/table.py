"""The scenarios, in their order."""

from __future__ import annotations

from benchmarks.scenarios import bulk, connections, echo, hybrid, idle, keepalive, names, rotation, workers

SCENARIOS = (
    keepalive.SCENARIO,
    connections.SCENARIO,
    hybrid.SCENARIO,
    bulk.SCENARIO,
    idle.SCENARIO,
    echo.SCENARIO,
    workers.SCENARIO,
    rotation.SCENARIO,
    names.SCENARIO,
)
