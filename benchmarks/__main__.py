"""The benchmark suite: every scenario, against every peer and us in turn, in one run.

    python -m benchmarks [--quick] [--rounds N] [--only SCENARIO ...] [--servers NAME ...] [--write]

A scenario's servers are all started before its first round, and a server that waits costs nothing; within a
round each is measured once, and each round begins with another one. Scenarios that want a fresh server start
it for each measurement. Ctrl-C ends everything that was started. With --write, RESULTS.md and results.svg
beside this file are made anew; otherwise the page is printed.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmarks import machine, upstream
from benchmarks.chart import svg
from benchmarks.credentials import issue
from benchmarks.figures import Results
from benchmarks.peers.table import OURS, THEIRS, Peer
from benchmarks.report import Run, markdown
from benchmarks.scenarios.scenario import Scenario
from benchmarks.scenarios.table import MISSING, SCENARIOS
from benchmarks.server import NotServingError, Server, negotiated, started
from tests.pki import Pki

HERE = Path(__file__).parent
_ROUNDS, _QUICK_ROUNDS = 3, 1


class Bench:
    """One run: starts servers, measures, and notes what came out."""

    def __init__(self, place: Path, upstream_port: int, *, quick: bool) -> None:
        self.place = place
        self.upstream_port = upstream_port
        self.quick = quick
        self.results = Results()
        self.failures: list[str] = []
        self.versions: dict[str, str] = {}
        self._pki = Pki()
        self._started = 0

    def start(self, stack: ExitStack, peer: Peer) -> Server | None:
        """Start a peer until the stack is closed; None, and a failure noted, where it can't."""
        self._started += 1
        folder = self.place / f"server-{self._started}"
        credentials = issue(self._pki, self.place / f"credentials-{self._started}")
        try:
            server = stack.enter_context(started(peer, self.upstream_port, folder, credentials))
            if peer.name not in self.versions:
                self.versions[peer.name] = f"{version(peer)}; {negotiated(server)}"
        except (NotServingError, OSError) as error:
            self._fail(peer.name, "left out", error)
            return None
        return server

    def run(self, scenario: Scenario, peers: Sequence[Peer], rounds: int) -> None:
        """Measure a scenario in all its rounds."""
        rounds = min(rounds, scenario.rounds or rounds)
        begun = time.monotonic()
        with ExitStack() as stack:
            servers = {} if scenario.fresh else {peer.name: self.start(stack, peer) for peer in peers}
            for number in range(rounds):
                shift = number * len(peers) // rounds
                for peer in (*peers[shift:], *peers[:shift]):
                    if scenario.fresh:
                        with ExitStack() as inner:
                            self._measure(scenario, peer, self.start(inner, peer))
                    else:
                        self._measure(scenario, peer, servers[peer.name])
        print(f"{scenario.name}: {rounds} rounds in {time.monotonic() - begun:.0f} s", file=sys.stderr)

    def _measure(self, scenario: Scenario, peer: Peer, server: Server | None) -> None:
        got: dict[str, float] = {}
        if server is not None:
            try:
                got = dict(scenario.measure(server, self.quick))
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                self._fail(peer.name, scenario.name, error)
        for figure in scenario.figures:
            self.results.add(figure.key, peer.name, got.get(figure.key))

    def _fail(self, name: str, what: str, error: Exception) -> None:
        words = " ".join(str(error).split()) or type(error).__name__
        line = f"{name}: {what}: {words.replace(str(self.place), 'FOLDER')[:300]}"
        if line not in self.failures:
            self.failures.append(line)
            print(line, file=sys.stderr)


def version(peer: Peer) -> str:
    """Ask a program for its version number; the first thing in its answer that looks like one."""
    program = peer.find() or peer.name
    command = [program, *peer.version]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    words = (done.stdout + done.stderr).replace(program, "")
    number = re.search(r"\d+\.\d+(\.\d+)?", words)
    return number[0] if number else "unknown version"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure tlsproxy beside its peers."
    )
    parser.add_argument("--quick", action="store_true", help="small counts, one round")
    parser.add_argument("--rounds", type=int, help=f"default: {_ROUNDS}, quick {_QUICK_ROUNDS}")
    parser.add_argument("--only", nargs="+", choices=[s.name for s in SCENARIOS], help="these scenarios")
    parser.add_argument(
        "--servers", nargs="+", choices=[p.name for p in (*OURS, *THEIRS)], help="these servers"
    )
    parser.add_argument("--write", action="store_true", help="make RESULTS.md and results.svg anew")
    return parser.parse_args()


def measured(options: argparse.Namespace) -> Run:
    """Do the run."""
    scenarios = [s for s in SCENARIOS if not options.only or s.name in options.only]
    peers = [p for p in (*OURS, *THEIRS) if not options.servers or p.name in options.servers]
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    machine.pin_load()
    begun, load = time.monotonic(), machine.load_average()
    with tempfile.TemporaryDirectory(prefix="tlsproxy-bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        with upstream.serving(place / "upstream") as port:
            bench = Bench(place, port, quick=options.quick)
            for scenario in scenarios:
                bench.run(scenario, peers, rounds)
    circumstances = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {'quick counts, ' * options.quick}{rounds} rounds or fewer",
        f"{(time.monotonic() - begun) / 60:.1f} minutes; load average before it {load:.2f}",
        machine.describe(),
        "TLS 1.3, HTTP/1.1, EC P-256 leaf and one intermediate, one worker, no access log",
    ]
    answered = [p.name for p in peers if p.name in bench.versions]
    return Run(
        scenarios=scenarios,
        ours=[p.name for p in OURS if p.name in answered],
        theirs=[p.name for p in THEIRS if p.name in answered],
        results=bench.results,
        circumstances=circumstances,
        versions=bench.versions,
        missing=MISSING,
        failures=bench.failures,
    )


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Stop once; whoever is impatient doesn't interrupt the ending of what was started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Measure and report."""
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        run = measured(options)
    except NotServingError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; everything that was started is ended")
    notes = HERE / "NOTES.md"
    page = markdown(run, notes.read_text() if notes.exists() else "")
    if not options.write:
        print(page)
        return
    (HERE / "RESULTS.md").write_text(page)
    figures = [f for s in run.scenarios for f in s.figures if f.key not in {"failed", "lost", "slowest"}]
    (HERE / "results.svg").write_text(svg(figures, run.results, run.ours, run.theirs))
    print(f"written: {HERE / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
