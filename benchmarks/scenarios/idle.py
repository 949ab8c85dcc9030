"""1,000 connections that have made one request each and now wait: memory at rest, and for each of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks import client
from benchmarks.figures import Figure
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server

# Allocators and garbage collectors give back late: Go's does within a second or two.
_SETTLE_S = 3.0


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Open them, let them rest, and compare the memory of the whole tree with that before."""
    count = 200 if quick else 1000
    context = client.make_context()
    time.sleep(_SETTLE_S / 3)
    at_rest = server.tree.pss()
    with ExitStack() as stack:
        for _ in range(count):
            tls = stack.enter_context(client.connect(context, server.port))
            client.get(tls, "/")
        time.sleep(1.0 if quick else _SETTLE_S)
        held = server.tree.pss()
    return {"idle": (held - at_rest) / count / 1024, "rest": at_rest / 1e6}


SCENARIO = Scenario(
    name="idle",
    title="1,000 idle connections",
    load="Python's ssl: one GET on each, then nothing; PSS of all processes of the server",
    figures=(Figure("idle", "KB per idle connection", 1), Figure("rest", "MB at rest", 1)),
    measure=measure,
    fresh=True,
    rounds=2,
)
