"""10,000 names, each with a certificate of its own: start, memory, and what the first handshake costs.

A name's first handshake may have to read and parse its certificate; its second shows what a handshake costs
anyway. First come the first ones of 100 names, then their second ones, each a new connection without a
ticket, and each must be shown the right certificate. The time is the client's: connect and handshake.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import client
from benchmarks.figures import Figure
from benchmarks.names import file_of, fingerprint_of, name_of
from benchmarks.peers.many import with_names
from benchmarks.peers.table import Peer
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server

COUNT, QUICK_COUNT = 10_000, 500
TOUCHED, PROBED = 200, 100
# Handshakes before the first that counts: a server's own first ones cost more, whatever the name.
_WARM = 20
_SETTLE_S = 2.0


def chosen(count: int) -> Sequence[str]:
    """Choose the names that are asked for, far from each other, in no order of theirs."""
    step = count // TOUCHED
    return [name_of(number * step * 7 % (TOUCHED * step)) for number in range(TOUCHED)]


def _visits(server: Server, folder: Path, names: Sequence[str]) -> list[float]:
    """Shake hands once for each name; give the milliseconds of each."""
    context, took = client.make_context(), []
    for name in names:
        begun = time.perf_counter()
        with client.connect(context, server.port, name=name) as tls:
            took.append((time.perf_counter() - begun) * 1000)
            if client.fingerprint(tls) != fingerprint_of(file_of(folder, name)):
                raise OSError(f"{name} is shown another certificate")
    return took


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Measure a server that has just started."""
    folder, names = server.folder.parent / "names", chosen(QUICK_COUNT if quick else COUNT)
    time.sleep(_SETTLE_S)
    at_rest = server.tree.pss()
    context = client.make_context()
    for _ in range(_WARM):
        client.connect(context, server.port).close()
    probed, cpu = names[:PROBED], [server.tree.cpu_s()]
    first = _visits(server, folder, probed)
    cpu.append(server.tree.cpu_s())
    second = _visits(server, folder, probed)
    cpu.append(server.tree.cpu_s())
    _visits(server, folder, names[PROBED:])
    time.sleep(_SETTLE_S)
    return {
        "start": server.start_s,
        "resting": at_rest / 1e6,
        "touched": server.tree.pss() / 1e6,
        "first": statistics.median(first),
        "second": statistics.median(second),
        "more": statistics.median(a - b for a, b in zip(first, second, strict=True)),
        "firstcpu": (cpu[1] - cpu[0]) / PROBED * 1000,
        "secondcpu": (cpu[2] - cpu[1]) / PROBED * 1000,
    }


def _many(peer: Peer, quick: bool) -> Peer:  # noqa: FBT001  the shape of an arrangement
    return with_names(peer, QUICK_COUNT if quick else COUNT)


SCENARIO = Scenario(
    name="names",
    title="10,000 names",
    load="Python's ssl, one connection after the other: the first and the second handshake of 100 names, and "
    "100 names more. nginx reads a name's certificate when it is asked for (Debian's: again at each "
    "handshake); the other peers read all at their start",
    figures=(
        Figure("start", "s until the first answer", 1, compared=False),
        Figure("resting", "MB at rest", compared=False, drawn=False),
        Figure("touched", "MB after 200 names"),
        Figure("first", "ms first handshake", 2, compared=False, drawn=False),
        Figure("second", "ms second", 2, compared=False, drawn=False),
        Figure("more", "ms more for the first", 2, compared=False),
        Figure("firstcpu", "ms CPU first", 2, compared=False, drawn=False),
        Figure("secondcpu", "ms CPU second", 2, compared=False, drawn=False),
    ),
    measure=measure,
    fresh=True,
    rounds=1,
    arrange=_many,
)
