"""How long one examination takes, in this process and in the examiner's, and what that one holds in memory.

    python benchmarks/examination.py [ROUNDS]

EC bundles, from files to the verdict, both engines, one after the other without a pause. Prints medians and
99th percentiles.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from certstore import Bundle, Candidate, Circumstances, Examiner, InProcess
from tests.pki import Pki
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import EngineName
from tlsproxy.tls.gate import HandshakeGate
from tlsproxy.workers.examiner import ExaminerProcess

ENGINES: tuple[EngineName, ...] = ("system", "bundled")


def durations(examiner: Examiner, candidates: list[tuple[Candidate, Bundle]]) -> list[float]:
    """Examine all of them; gives how long each took, in seconds."""
    taken: list[float] = []
    for candidate, bundle in candidates:
        start = time.perf_counter()
        with examiner.examine(candidate, lambda _spki: None) as examination:
            assert examination.bundle == bundle
            assert examination.judge(Circumstances(datetime.now(UTC), clock_plausible=True)) == ()
        taken.append(time.perf_counter() - start)
    return sorted(taken)


def line(what: str, taken: list[float]) -> None:
    median, slow = statistics.median(taken) * 1000, taken[int(len(taken) * 0.99) - 1] * 1000
    print(f"{what:<32} median {median:6.2f} ms   p99 {slow:6.2f} ms   n={len(taken)}")


def memory(pid: int) -> int:
    """Give how much a process holds that no file gives back, in KB."""
    rows = (row.split() for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return next(int(size) for name, size, _ in rows if name == "Anonymous:")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    pki = Pki()
    leaves = [pki.leaf(key="ec") for _ in range(rounds)]
    files = [Candidate((("tls.key", leaf.key_pem), ("tls.crt", leaf.chain_pem))) for leaf in leaves]
    candidates = [(candidate, leaf.bundle()) for candidate, leaf in zip(files, leaves, strict=True)]
    for engine in ENGINES:
        line(
            f"{engine}, in this process", durations(InProcess(HandshakeGate(TLSPolicy(), engine)), candidates)
        )
        with ExaminerProcess(TLSPolicy(), engine) as examiner:
            durations(examiner, candidates[:5])
            line(f"{engine}, in the examiner's", durations(examiner, candidates))
            assert examiner.pid is not None
            held = memory(examiner.pid)
        print(f"{engine}, the examiner's process holds {held} KB of its own")


if __name__ == "__main__":
    main()
