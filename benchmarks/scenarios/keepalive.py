"""Small GETs on 32 keep-alive connections: what one request costs."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.figures import Figure
from benchmarks.scenarios import wrk
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server

CONNECTIONS = 32


def cost_us(server: Server, seconds: float) -> float:
    """Give the microseconds of processor time that a request costs, under all the load that wrk can make."""
    before = server.tree.cpu_s()
    run = wrk.load(server.port, CONNECTIONS, seconds)
    used = server.tree.cpu_s() - before
    if run.bad or run.errors or not run.requests:
        raise OSError(f"{run.bad} bad answers, {run.errors} socket errors")
    return used / run.requests * 1e6


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Measure after a moment of warming up."""
    wrk.load(server.port, CONNECTIONS, 1)
    return {"request": cost_us(server, 1 if quick else 3)}


SCENARIO = Scenario(
    name="keepalive",
    title="Small GETs on 32 keep-alive connections",
    load="wrk, one thread; an answer of 150 bytes; the 32 handshakes are in it",
    figures=(Figure("request", "us CPU per request"),),
    measure=measure,
)
