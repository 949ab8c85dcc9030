"""The benchmark suite: every scenario, against every peer and us in turn, in one run.

    python -m benchmarks [--quick] [--rounds N] [--only SCENARIO ...] [--servers NAME ...] [--write]

A scenario's servers are all started before its first round, and a server that waits costs nothing; within a
round each is measured once, and each round begins with another one. Scenarios that want a fresh server start
it for each measurement. Our own sources are compiled ahead, as an installation does it: a server that has to
do so at its start takes longer, and keeps more memory. What fails is noted, and the run goes on; Ctrl-C ends
everything that was started, and what was measured until then is printed. With --write, a whole run makes
RESULTS.md and results.svg beside this file anew; otherwise the page is printed.
"""

from __future__ import annotations

import argparse
import compileall
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmarks import machine, upstream
from benchmarks.bench import Bench
from benchmarks.chart import Panel, svg
from benchmarks.peers.table import OURS, ROOT, THEIRS
from benchmarks.report import Run, markdown
from benchmarks.scenarios.table import SCENARIOS
from benchmarks.server import NotServingError
from benchmarks.targets import TARGETS

HERE = Path(__file__).parent
_ROUNDS, _QUICK_ROUNDS = 3, 1


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
    """Do the run; one that is stopped gives what it has until then, and says so."""
    scenarios = [s for s in SCENARIOS if not options.only or s.name in options.only]
    peers = [p for p in (*OURS, *THEIRS) if not options.servers or p.name in options.servers]
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    for package in ("certstore", "tlsproxy"):
        compileall.compile_dir(ROOT / package, quiet=1)
    machine.pin_load()
    begun, load, stopped = time.monotonic(), machine.load_average(), False
    with tempfile.TemporaryDirectory(prefix="tlsproxy-bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        with upstream.serving(place / "upstream") as port:
            bench = Bench(place, port, quick=options.quick)
            present = bench.installed(peers)
            try:
                for scenario in scenarios:
                    bench.run(scenario, present, rounds)
            except KeyboardInterrupt:
                stopped = True
    circumstances = [
        *(["stopped before its end"] if stopped else []),
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {'quick counts, ' * options.quick}{rounds} rounds or fewer",
        f"{(time.monotonic() - begun) / 60:.1f} minutes; load average before it {load:.2f}",
        machine.describe(),
        "TLS 1.3, HTTP/1.1, EC P-256 leaf and one intermediate, no access log; one worker, one core",
    ]
    answered = [p.name for p in peers if p.name in bench.versions]
    return Run(
        scenarios=scenarios,
        ours=[p.name for p in OURS if p.name in answered],
        theirs=[p.name for p in THEIRS if p.name in answered],
        results=bench.results,
        circumstances=circumstances,
        versions=bench.versions,
        failures=bench.failures,
        is_whole=not stopped,
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
        sys.exit("stopped; everything that was started is ended")  # before the first measurement
    notes = HERE / "NOTES.md"
    page = markdown(run, notes.read_text() if notes.exists() else "")
    if not options.write or not run.is_whole:
        print(page)
        sys.exit(None if run.is_whole else "stopped; everything that was started is ended")
    (HERE / "RESULTS.md").write_text(page)
    asked = {target.figure: target.bound for target in TARGETS if target.peer is None}
    panels = [
        Panel(figure, scenario.title, asked.get(figure.key))
        for scenario in run.scenarios
        for figure in scenario.figures
        if figure.drawn
    ]
    (HERE / "results.svg").write_text(svg(panels, run.results, run.ours, run.theirs))
    print(f"written: {HERE / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
