"""How long one activation takes on this disk: from `propose` to a confirmed receipt, with all its syncs.

    python benchmarks/activation.py [FOLDER] [ROUNDS]

No gate and no workers: what is measured is decode, checks and the disk. Prints medians and the slowest.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from certstore.atomic import Disk
from certstore.decode import Candidate
from certstore.examination import InProcess
from certstore.slots import Source
from certstore.store import Store
from tests.pki import Pki


def line(what: str, seconds: list[float]) -> None:
    median, slowest = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(f"{what:<32} median {median:7.2f} ms   slowest {slowest:7.2f} ms   n={len(seconds)}")


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    pki = Pki()
    candidates = [
        Candidate((("tls.key", issued.key_pem), ("tls.crt", issued.chain_pem)))
        for issued in (pki.leaf(key="ec") for _ in range(rounds))
    ]
    steps: Counter[str] = Counter()
    disk = Disk(before=lambda step, _: steps.update([step]))
    activation: list[float] = []
    pruning: list[float] = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = Store.open(Path(place) / "store", clock=lambda: datetime.now(UTC), disk=disk)
        steps.clear()
        for candidate in candidates:
            start = time.perf_counter()
            receipt = store.propose(candidate, source=Source.CUSTOMER, via="benchmark", examiner=InProcess())
            activation.append(time.perf_counter() - start)
            assert receipt.live_at is not None, receipt
        each = {step: count / rounds for step, count in sorted(steps.items())}
        for _ in range(rounds):
            start = time.perf_counter()
            store.prune()
            pruning.append(time.perf_counter() - start)
        store.close()
        start = time.perf_counter()
        Store.open(Path(place) / "store", clock=lambda: datetime.now(UTC)).close()
        opening = time.perf_counter() - start
    line("activation", activation)
    line("pruning when nothing is old", pruning[1:])
    line("pruning all at once", pruning[:1])
    line("opening", [opening])
    print("disk steps of one activation:", ", ".join(f"{step} {count:g}" for step, count in each.items()))


if __name__ == "__main__":
    main()
