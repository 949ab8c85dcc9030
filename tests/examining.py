"""What the examiner's tests share: what came of an examination, and a look at the processes behind it."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from certstore import Bundle, Candidate, Circumstances, Examiner, Finding, PrivateKey, Refusal
from tests.pki import Issued, Pki
from tests.storing import candidate_of
from tlsproxy.workers.examiner import ExaminerProcess

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Keys:
    """Known keys; `during` is called in the middle of an examination, when one is asked for."""

    known: dict[str, PrivateKey] = field(default_factory=dict)
    during: Callable[[], object] = lambda: None

    def __call__(self, spki: str) -> PrivateKey | None:
        self.during()
        return self.known.get(spki)


@dataclass(frozen=True)
class Outcome:
    """All that can come of an examination."""

    bundle: Bundle | None
    findings: tuple[Finding, ...]
    refused: bool

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.findings]

    @property
    def words(self) -> str:
        return "; ".join(finding.words for finding in self.findings)


def outcome(
    examiner: Examiner, candidate: Candidate | Bundle, known: Keys | None = None, *, plausible: bool = True
) -> Outcome:
    bundle: Bundle | None = None
    findings: tuple[Finding, ...] = ()
    try:
        with examiner.examine(candidate, known or Keys()) as examination:
            bundle, findings = examination.bundle, examination.findings
            judged = examination.judge(Circumstances(datetime.now(UTC), plausible))
            return Outcome(bundle, (*findings, *judged), refused=False)
    except Refusal as refusal:
        return Outcome(bundle, (*findings, *refusal.findings), refused=True)


def alone(issued: Issued) -> Candidate:
    """A candidate whose examination asks for a key, so that something can happen in the middle of it."""
    return Candidate((("new.pem", issued.chain_pem),))


def assert_the_next_one_passes(examiner: Examiner, pki: Pki) -> None:
    issued = pki.leaf()
    assert outcome(examiner, candidate_of(issued)) == Outcome(issued.bundle(), (), refused=False)


def process_of(examiner: ExaminerProcess) -> subprocess.Popen[bytes]:
    assert examiner._process is not None
    return examiner._process.process


def fork_of(examiner: ExaminerProcess) -> int:
    """Give the process that holds the conversation under way."""
    pid = process_of(examiner).pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def wait_gone(pid: int) -> None:
    """Wait until a process has ended (it may not be reaped yet)."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([fd], [], [], 30)[0], "it is still there"
    os.close(fd)
