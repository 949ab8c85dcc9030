"""One run: every scenario against every server in turn, and a note of all that came out.

What fails is noted and left behind: a peer that can't start, a measurement that breaks or takes too long. The
rest of the run goes on, and what was measured stays.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.credentials import issue
from benchmarks.deadline import within
from benchmarks.figures import Figure, Results
from benchmarks.peers.table import Peer
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import NotServingError, Server, negotiated, started
from tests.pki import Pki

_ASK_S = 30.0


class Bench:
    """Starts servers, measures, and notes what came out."""

    def __init__(self, place: Path, upstream_port: int, *, quick: bool) -> None:
        self.place = place
        self.upstream_port = upstream_port
        self.quick = quick
        self.results = Results()
        self.failures: list[str] = []
        self.versions: dict[str, str] = {}
        self._pki = Pki()
        self._started = 0

    def installed(self, peers: Sequence[Peer]) -> list[Peer]:
        """Give those whose program is here; the others are told once, not in each scenario."""
        for peer in peers:
            if peer.find() is None:
                self._fail(peer.name, "left out", NotServingError("not installed"))
        return [peer for peer in peers if peer.find() is not None]

    def run(self, scenario: Scenario, peers: Sequence[Peer], rounds: int) -> None:
        """Measure a scenario in all its rounds."""
        rounds = min(rounds, scenario.rounds or rounds)
        peers = [peer for peer in peers if peer.name not in scenario.without]
        begun = time.monotonic()
        with ExitStack() as stack:
            servers = {} if scenario.fresh else {p.name: self._start(stack, scenario, p) for p in peers}
            for number in range(rounds):
                shift = number * len(peers) // rounds
                for peer in (*peers[shift:], *peers[:shift]):
                    with ExitStack() as inner:
                        server = self._start(inner, scenario, peer) if scenario.fresh else servers[peer.name]
                        got = self._measure(scenario, server) if server else {}
                    self._note(scenario, peer, got, f"round {number + 1} of {rounds}")
        _say(f"{scenario.name}: {rounds} rounds in {time.monotonic() - begun:.0f} s")

    def _start(self, stack: ExitStack, scenario: Scenario, peer: Peer) -> Server | None:
        """Start a peer until the stack is closed; None, and a failure noted, where it can't."""
        self._started += 1
        folder = self.place / f"server-{self._started}"
        credentials = issue(self._pki, self.place / f"credentials-{self._started}")
        try:
            arranged = scenario.arrange(peer, self.quick)
            server = stack.enter_context(started(arranged, self.upstream_port, folder, credentials))
            if peer.name not in self.versions:
                self.versions[peer.name] = f"{version(peer)}; {negotiated(server)}"
        except Exception as error:  # noqa: BLE001  the border around one server: the others are measured
            self._fail(peer.name, f"left out of {scenario.name}", error)
            return None
        return server

    def _measure(self, scenario: Scenario, server: Server) -> Mapping[str, float | Sequence[float]]:
        try:
            with within(scenario.limit_s):
                return scenario.measure(server, self.quick)
        except Exception as error:  # noqa: BLE001  the border around one measurement: the run goes on
            self._fail(server.name, scenario.name, error)
            return {}

    def _note(
        self, scenario: Scenario, peer: Peer, got: Mapping[str, float | Sequence[float]], when: str
    ) -> None:
        told = []
        for figure in scenario.figures:
            value = got.get(figure.key)
            values = value if isinstance(value, Sequence) else [value]
            for each in values:
                self.results.add(figure.key, peer.name, each)
            told += [f"{figure.key} {_shown(figure, values)}"] if figure.key in got else []
        _say(f"{scenario.name}, {when}: {peer.name}: {', '.join(told) or 'nothing'}")

    def _fail(self, name: str, what: str, error: Exception) -> None:
        words = " ".join(str(error).split()) or type(error).__name__
        line = f"{name}: {what}: {words.replace(str(self.place), 'FOLDER')[:300]}"
        if line not in self.failures:
            self.failures.append(line)
            _say(line)


def _shown(figure: Figure, values: Sequence[float | None]) -> str:
    return "/".join(f"{value:.{figure.digits}f}" for value in values if value is not None)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def version(peer: Peer) -> str:
    """Ask a program for its version number; the first thing in its answer that looks like one."""
    program = peer.find() or peer.name
    command = [program, *peer.version]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
    words = (done.stdout + done.stderr).replace(program, "")
    number = re.search(r"\d+\.\d+(\.\d+)?", words)
    return number[0] if number else "unknown version"
