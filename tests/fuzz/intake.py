"""A fuzzer for decode and checks, guided by coverage; run by hand: it needs atheris, and never ends.

    pip install atheris
    python -m tests.fuzz.intake -max_total_time=600 [FOLDER-FOR-WHAT-IT-FINDS]

It begins with the corpus of tests/vectors/intake. What it looks for: an exception that isn't a Refusal, a
refusal without an error or with words that can't be told, and anything that takes longer than 10 s.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
from pathlib import Path

fuzzer = importlib.import_module("atheris")  # by name: it is no dependency, and has no types

with fuzzer.instrument_imports(include=["certstore"]):
    from certstore import Candidate, Refusal, derivation
    from certstore.assembly import assemble
    from certstore.checks import check
    from certstore.circumstances import Circumstances
    from certstore.findings import genuine
from tests.intake import corpus  # noqa: E402  what is instrumented has to be imported first


def one(data: bytes) -> None:
    """Try one input: a file, which a passphrase of the corpus may open."""
    try:
        bundle, findings = assemble(Candidate((("x", data),), (b"sesame42",)), lambda _spki: None)
    except Refusal as refusal:
        if not any(finding.is_error for finding in map(genuine, refusal.findings)):
            raise AssertionError("refused without a reason") from refusal
        return
    assert not any(finding.is_error for finding in map(genuine, findings))
    check(bundle, Circumstances(bundle.not_before, clock_plausible=True))


def main() -> None:
    derivation.MOST_ROUNDS = 10_240  # type: ignore[misc]  # so that nothing takes long
    with tempfile.TemporaryDirectory() as seeds:
        for number, path in enumerate(path for case in corpus() for path in case.paths):
            if path.stat().st_size < 65_536:
                shutil.copy(path, Path(seeds) / str(number))
        fuzzer.Setup([*sys.argv, "-timeout=10", "-max_len=65536", seeds], one)
        fuzzer.Fuzz()


if __name__ == "__main__":
    main()
