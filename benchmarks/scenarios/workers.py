"""Two workers beside one: what a request costs then, and how evenly connections are spread.

What is compared is processor time for a request, not requests a second: the one core that the server has
can't show that two workers do twice as much, but it shows what the second one costs (what they do twice, what
they push out of each other's cache). Both servers, with one worker and with two, run on that core and are
measured in turn: one, two, two, one.

The shares are counted from outside: 200 clients, each from an address of its own in 127.0.0.0/8, hold a
connection, and the kernel tells which process has its socket. That finds processes, not threads: HAProxy,
Envoy, Caddy and Traefik have no share here.

Clients that come back may meet the other worker, which must know their ticket all the same.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks import client
from benchmarks.figures import Figure
from benchmarks.scenarios import keepalive, wrk
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server, beside

WORKERS = 2
CLIENTS = 200


def address(number: int) -> str:
    """Give a client's own address, spread over 127.0.0.0/8."""
    return f"127.{1 + number * 7 % 250}.{number * 13 % 250}.{1 + number}"


def least_share(held: Mapping[int, int]) -> float | None:
    """Give the percentage that the second of two workers has; None where they aren't processes.

    `held` counts the connections of each process of the tree, masters included. With two workers the other
    one has the rest.
    """
    counts = sorted(held.values(), reverse=True)
    if len(counts) < WORKERS or not counts[0]:
        return None
    return 100 * counts[1] / sum(counts)


def _share(server: Server) -> float | None:
    context = client.make_context()
    with ExitStack() as stack:
        for number in range(CLIENTS):
            tls = stack.enter_context(client.connect(context, server.port, source=address(number)))
            client.get(tls, "/")
        return least_share(server.tree.connections(server.port))


def _returning(server: Server) -> float:
    """Give the percentage of clients that resume when they come back, each by a new connection."""
    context, resumed = client.make_context(), 0
    for _ in range(CLIENTS):
        with client.connect(context, server.port) as tls:
            client.get(tls, "/")  # the ticket comes with the answer, if not before
            session = tls.session
        with client.connect(context, server.port, session) as tls:
            client.get(tls, "/")
            resumed += bool(tls.session_reused)
    return 100 * resumed / CLIENTS


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Measure the server as it is, and another of its kind with two workers."""
    seconds = 1 if quick else 2
    costs: dict[int, list[float]] = {1: [], WORKERS: []}
    with beside(server, WORKERS) as two:
        share = _share(two)
        returning = _returning(two)
        for each in (server, two):
            wrk.load(each.port, keepalive.CONNECTIONS, 1)
        for each in (server, two, two, server):
            costs[each.peer.workers].append(keepalive.cost_us(each, seconds))
    scaling = statistics.mean(costs[1]) / statistics.mean(costs[WORKERS])
    figures = {"scaling": scaling, "returning": returning}
    return figures if share is None else figures | {"share": share}


_THREADS = "it takes a thread for each connection, however many workers are asked for"
SCENARIO = Scenario(
    name="workers",
    title="Two workers",
    load="wrk on 32 keep-alive connections to a server with one worker and to one with two, in turn, both "
    "on the server's core: processor time is compared, not speed. Then 200 clients from 200 addresses of "
    "127.0.0.0/8; who has no share has threads, which can't be told apart from outside. Then 200 come "
    "twice, one after the other, from one address",
    figures=(
        Figure(
            "scaling",
            "requests per CPU second, 2 workers / 1",
            2,
            more_is_better=True,
            compared=False,
        ),
        Figure(
            "share",
            "% of connections at the worker with fewer",
            more_is_better=True,
            compared=False,
        ),
        Figure("returning", "% of returning clients that resume", more_is_better=True, compared=False),
    ),
    measure=measure,
    rounds=2,
    without={"stunnel": _THREADS},
)
