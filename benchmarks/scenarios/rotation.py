"""A new certificate under load, again and again: how long it takes, and what the clients notice.

A certificate is handed over in each peer's own best way (peers/rotation.py). The time `live` runs until the
peer says that it is served, for those that say so: ours, on the control socket, and HAProxy. The time `seen`
runs until a new connection was shown the new certificate, for everybody. Who has said live and then shows the
old one is caught by that connection, and it counts as a failure. Some rotations come before all load
(`calm`): what one costs, where `live` shows what it gets on a core that two busy workers share.

Theory of the latency. wrk asks for all that it can get, so a request waits for those before it: its p99 is
that of a full queue, on a core that has no time left over for a rotation. It is harsh, and the same for all.
It drifts with the machine, so each few seconds with rotations stand beside a few without, on the same server
with the same load, and the ratio is taken pair by pair; its median is told, with the least and the most.
Rotations come at a fixed pace (`PERIOD_S`, or as fast as the peer can), or who is quicker would be disturbed
more often.

Meanwhile 20 WebSockets are open from before the first rotation until after the last, of which none may be
lost, and 12 keep-alive connections, which are asked now and then. A peer may end such a connection while it
is idle; but a request that is on its way then is lost, and wrk counts those as failed.
"""

from __future__ import annotations

import ssl
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import client
from benchmarks.credentials import Credentials, issue
from benchmarks.figures import Figure, percentile
from benchmarks.peers.table import OURS, Peer
from benchmarks.scenarios import wrk
from benchmarks.scenarios.echo import FRAME, open_socket
from benchmarks.scenarios.scenario import Measured, Scenario
from benchmarks.server import Server
from tests.pki import Pki

WORKERS = 2
CONNECTIONS = 32
WEBSOCKETS, KEPT = 20, 12
# From one handing over to the next: faster than any device needs it, and slower than most peers can.
PERIOD_S = 0.15
# Between two looks at what a new connection is shown: rarely enough not to be a load of its own.
_LOOK_S = 0.005
_LIVE_WITHIN_S = 5.0
# Before memory is read: Go's collector gives back late.
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: rotations without load and under it, those before memory is read first; seconds."""

    calm: int
    count: int
    warm: int
    quiet_s: float
    busy_s: float
    budget_s: float


# A thousand for us; a peer's hundred show its way as well, and it gets a minute for them.
QUICK, THEIRS, FULL = Plan(5, 20, 5, 1, 2, 30), Plan(20, 100, 50, 2, 6, 60), Plan(100, 1000, 50, 2, 8, 400)
_OURS = {peer.name for peer in OURS}


@dataclass(slots=True)
class Tally:
    """What came out so far: seconds until told live and until seen, one a rotation; a ratio a block."""

    calm: list[float] = field(default_factory=list)
    """Those before all load."""
    lives: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    failed: int = 0
    ratios: list[float] = field(default_factory=list)
    settled: int | None = None
    """Bytes held after the first rotations."""

    @property
    def pace_s(self) -> float:
        """How long one rotation takes with its pause."""
        return max(PERIOD_S, statistics.median(self.seen) if self.seen else PERIOD_S)


def block_s(left: int, pace_s: float, longest_s: float) -> float:
    """Give whole seconds, as wrk wants them, for the rotations that are left, but no longer block."""
    return max(1.0, min(longest_s, float(round(left * pace_s))))


class Rotation:
    """One server under rotations."""

    def __init__(self, server: Server, upcoming: Iterator[Credentials]) -> None:
        self._server = server
        self._upcoming = upcoming
        self._context = client.make_context()
        self.tally = Tally()

    def calmly(self, count: int) -> None:
        """Rotate without load; only the times until told live are kept."""
        tally, self.tally = self.tally, Tally()
        for _ in range(count):
            self._rotate()
            time.sleep(PERIOD_S)
        tally.calm, tally.failed = self.tally.lives, self.tally.failed
        self.tally = tally

    def block(self, plan: Plan) -> None:
        """Measure the latency without, then with rotations."""
        port, tally = self._server.port, self.tally
        quiet = wrk.load(port, CONNECTIONS, plan.quiet_s)
        seconds = block_s(plan.count - len(tally.seen), tally.pace_s, plan.busy_s)
        with ExitStack() as stack:
            load = wrk.start(port, CONNECTIONS, seconds)
            stack.callback(load.wait)
            stack.callback(load.kill)
            end = time.monotonic() + seconds - PERIOD_S  # the last one ends before the load does
            while time.monotonic() < end and len(tally.seen) < plan.count:
                begun = time.monotonic()
                self._rotate()
                time.sleep(max(0.0, begun + PERIOD_S - time.monotonic()))
            busy = wrk.finish(load)
        tally.failed += quiet.bad + quiet.errors + busy.bad + busy.errors
        if seconds >= plan.quiet_s:  # else it was too short to have a p99 that means something
            tally.ratios.append(busy.p99_ms / quiet.p99_ms)

    def _rotate(self) -> None:
        """Hand one certificate over, and wait until it is seen."""
        server = self._server
        server.new = next(self._upcoming)
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as aside:  # Caddy answers only when its old connections have ended
            telling = aside.submit(server.peer.rotate, server)
            if server.peer.tells:
                telling.result()
                self.tally.lives.append(time.monotonic() - begun)
            while not self._is_seen():
                self.tally.failed += server.peer.tells  # it said so, and it isn't true
                if time.monotonic() - begun > _LIVE_WITHIN_S:
                    raise TimeoutError("the new certificate isn't served")
                time.sleep(_LOOK_S)
            self.tally.seen.append(time.monotonic() - begun)
            telling.result()

    def _is_seen(self) -> bool:
        try:
            with client.connect(self._context, self._server.port) as tls:
                return client.fingerprint(tls) == self._server.new.fingerprint
        except OSError:
            self.tally.failed += 1
            return False


def lost(sockets: list[ssl.SSLSocket]) -> int:
    """Count the WebSockets that don't echo any more."""
    count = 0
    for tls in sockets:
        try:
            tls.settimeout(2.0)
            tls.sendall(FRAME)
            count += tls.recv(4096) != FRAME  # a close frame isn't an echo
        except OSError:
            count += 1
    return count


def still_open(kept: list[ssl.SSLSocket]) -> list[ssl.SSLSocket]:
    """Ask on each connection; give those that answer."""
    answering = []
    for tls in kept:
        try:
            client.get(tls, "/")
        except OSError:
            continue
        answering.append(tls)
    return answering


def measure(server: Server, quick: bool) -> Measured:  # noqa: FBT001  one flag, named where it is read
    """Rotate in blocks until all is done, or the budget is used up."""
    plan = QUICK if quick else FULL if server.name in _OURS else THEIRS
    context, deadline = client.make_context(), time.monotonic() + plan.budget_s
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rotation-", dir=server.folder)))
        pki = Pki()
        upcoming = [issue(pki, folder / str(number)) for number in range(plan.calm + plan.count)]
        sockets = [stack.enter_context(open_socket(context, server.port)) for _ in range(WEBSOCKETS)]
        kept = [stack.enter_context(client.connect(context, server.port)) for _ in range(KEPT)]
        kept = still_open(kept)
        rotation = Rotation(server, iter(upcoming))
        tally = rotation.tally
        rotation.calmly(plan.calm)
        while len(tally.seen) < plan.count and time.monotonic() < deadline:
            rotation.block(plan)
            kept = still_open(kept)
            if tally.settled is None and len(tally.seen) >= plan.warm:
                tally.settled = _memory(server)
        held = _memory(server)
        return figures(tally, held, lost_sockets=lost(sockets), ended=KEPT - len(kept))


def _memory(server: Server) -> int:
    time.sleep(_SETTLE_S)
    return server.tree.pss()


def figures(tally: Tally, held: int, *, lost_sockets: int, ended: int) -> Measured:
    """Give the figures; those for which there are no values are left out."""
    told: dict[str, float | list[float]] = {
        "seen": statistics.median(tally.seen) * 1000,
        "rotations": float(len(tally.seen)),
        "failed": float(tally.failed),
        "lost": float(lost_sockets),
        "ended": float(ended),
        "p99": tally.ratios,
    }
    if tally.calm:
        told["calm"] = statistics.median(tally.calm) * 1000
        told["calm99"] = percentile(tally.calm, 0.99) * 1000
    if tally.lives:
        told["live"] = statistics.median(tally.lives) * 1000
        told["live99"] = percentile(tally.lives, 0.99) * 1000
    if tally.settled is not None:
        told["growth"] = (held - tally.settled) / 1e6
    return told


def two_workers(peer: Peer, quick: bool) -> Peer:  # noqa: ARG001, FBT001  the shape of an arrangement
    """Start the peer with two workers, where it has such."""
    return replace(peer, workers=WORKERS)


SCENARIO = Scenario(
    name="rotation",
    title="Rotation under load",
    load=f"wrk on {CONNECTIONS} keep-alive connections to a server with two workers, {WEBSOCKETS} open "
    f"WebSockets, {KEPT} more keep-alive connections, a new certificate every {PERIOD_S} s or as fast as the "
    "peer can; each few seconds with rotations beside a few without. Told live: the answer of ours on the "
    "control socket, of HAProxy on its runtime socket; others don't say",
    figures=(
        Figure("rotations", "rotations", compared=False, drawn=False),
        Figure("calm", "ms until told live, without load, median", 1, compared=False),
        Figure("calm99", "ms until told live, without load, p99", 1, compared=False),
        Figure("live", "ms until told live, median", 1, compared=False),
        Figure("live99", "ms until told live, p99", 1, compared=False),
        Figure("seen", "ms until seen by a new connection, median", 1, compared=False),
        Figure("failed", "requests and connections failed", compared=False, drawn=False),
        Figure("lost", f"WebSockets lost of {WEBSOCKETS}", compared=False, drawn=False),
        Figure("ended", f"idle connections ended of {KEPT}", compared=False, drawn=False),
        Figure("p99", "p99 latency, times quiet", 2, compared=False),
        Figure("growth", "MB grown after the first 50", 1, compared=False),
    ),
    measure=measure,
    fresh=True,
    rounds=1,
    limit_s=480.0,
    arrange=two_workers,
)
