"""Gathering: what to do about the files of a directory. Pure: snapshots in, a plan out.

It decides three things. What is a *candidate*: a pair that is whole and has not changed for `settle_s`.
What is a *problem*, and from when: a fault that can't heal by waiting is told soon, one that can is given
`patience_s`. And when to look again. It promises that the same content is planned once for a directory, and
that no file keeps another from its turn. It reads no clock: the snapshot brings its times.

What could go wrong, and why it is done this way:

- *A pair is torn*: the certificate is new and the key is still the old one. Then the public keys differ,
  and it is no pair; if the key was kept, it is one, and rightly. Contents that changed between two reads
  are told apart by two equal snapshots `settle_s` apart.
- *The other half is still coming.* Somebody types the second scp, or a slow line stalls: such a file is
  broken or alone only for now. It is told after seconds of quiet, and a lone half stays where it is,
  because its partner may come days later (a key waits for its certificate).
- *One problem is told again and again.* Each has a digest, and what has been handled isn't planned.
- *Somebody else's directory holds other things* (README, a client CA, DH parameters): in a watched
  directory only what looks like a certificate or a key is judged; in the inbox everything is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from types import MappingProxyType

from certstore.contents import Content
from certstore.decode import Candidate
from certstore.findings import Finding, found
from certstore.pairing import LoneKey, LoneLeaf, Pairing, Part, pair_up
from certstore.snapshot import Entry, Group, Kind, Snapshot

__all__ = ["Knowledge", "Leftover", "Memory", "Plan", "Problem", "Ready", "Timing", "plan"]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long what is waited for; seconds."""

    settle_s: float = 0.150  # DESIGN section 3
    # a second scp by hand takes 2 to 4 s; a person looks for a result after some 10
    patience_s: float = 5.0
    # how long files that go on changing can hold up what is said about a lone half
    restless_s: float = 60.0
    # a lone half is tidied away only after that: the certificate for a key may be issued by people
    lonely_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Since when (monotonic seconds) each file has been as it is."""

    since: Mapping[tuple[str, str], tuple[str, float]] = field(default_factory=lambda: MappingProxyType({}))

    def after(self, snapshot: Snapshot) -> Memory:
        """Take in a further snapshot: what it doesn't hold any more is forgotten."""
        since: dict[tuple[str, str], tuple[str, float]] = {}
        for place, entry in snapshot.marks():
            digest, at = self.since.get(place, ("", 0.0))
            since[place] = (entry.digest, at if digest == entry.digest else snapshot.ended_at)
        return Memory(MappingProxyType(since))

    def latest(self, group: str, entries: Iterable[Entry]) -> float:
        """Give the moment since which all of these have been as they are."""
        return max(self.since[group, entry.name][1] for entry in entries)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the plan depends on besides the files; all three answer at once and have no effect.

    `is_known`: does the store hold the key with this SPKI hash. `handled`: the id of the receipt that this
    digest got in this directory, if any. `content`: what an entry holds.
    """

    is_known: Callable[[str], bool]
    handled: Callable[[str, str], str | None]
    content: Callable[[Entry], Content]


@dataclass(frozen=True, slots=True)
class Ready:
    """A candidate to be proposed. `own` are the files that belong to nothing else.

    As long as somebody writes to one of `entries` it should wait, but not beyond `patient_until`.
    """

    group: str
    digest: str
    candidate: Candidate
    entries: tuple[Entry, ...]
    own: tuple[Entry, ...]
    patient_until: float


@dataclass(frozen=True, slots=True)
class Problem:
    """Files to be refused without asking the store any further.

    `own` may be moved at once; of a lone half that is nothing.
    """

    group: str
    digest: str
    findings: tuple[Finding, ...]
    entries: tuple[Entry, ...]
    own: tuple[Entry, ...]
    patient_until: float


@dataclass(frozen=True, slots=True)
class Leftover:
    """A lone half that was told long ago (by this receipt), and may be moved now."""

    receipt: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order.

    `look_again_at` is when something may be due next, in monotonic seconds; None: only after a change.
    """

    ready: tuple[Ready, ...]
    problems: tuple[Problem, ...]
    leftovers: tuple[Leftover, ...]
    look_again_at: float | None
    memory: Memory


def plan(snapshot: Snapshot, memory: Memory, knowledge: Knowledge, timing: Timing) -> Plan:
    """Decide about a snapshot; `memory` is what the last plan gave, or an empty one."""
    memory = memory.after(snapshot)
    drafts = [
        _Draft(snapshot, group, memory, knowledge, timing) for group in snapshot.groups if group.entries
    ]
    for draft in drafts:
        draft.decide()
    times = [at for draft in drafts for at in draft.times]
    return Plan(
        tuple(one for draft in drafts for one in draft.ready),
        tuple(one for draft in drafts for one in draft.problems),
        tuple(one for draft in drafts for one in draft.leftovers),
        min(times, default=None),
        memory,
    )


# Faults that no waiting heals; the others may be a file that is just being made or given to us.
_DEFINITE = frozenset({"file_too_large", "not_a_file", "symlink_loop"})

_SUFFIXES = frozenset(
    {".pem", ".crt", ".cer", ".cert", ".key", ".der", ".p7b", ".p7c", ".p12", ".pfx", ".jks"}
)


class _Draft:
    """The plan of one group while it is made."""

    def __init__(
        self, snapshot: Snapshot, group: Group, memory: Memory, knowledge: Knowledge, timing: Timing
    ) -> None:
        self._kind, self._now, self._group = snapshot.kind, snapshot.began_at, group
        self._memory, self._knowledge, self._timing = memory, knowledge, timing
        self.ready: list[Ready] = []
        self.problems: list[Problem] = []
        self.leftovers: list[Leftover] = []
        self.times: list[float] = []

    def decide(self) -> None:
        parts = [Part(entry, self._knowledge.content(entry)) for entry in self._group.entries]
        pairing = pair_up(parts, self._knowledge.is_known)
        self._decide_pairs(pairing)
        for entry, findings in self._faults(parts, has_pairs=bool(pairing.pairs)):
            quick = findings[0].code in _DEFINITE
            self._refuse(findings, (entry,), self._timing.settle_s if quick else self._timing.patience_s)
        told: set[str] = set()
        for leaf, key in self._mismatches(pairing):
            told |= {leaf.leaf.fingerprint, key.key.spki}
            entries = tuple({e.name: e for e in (*leaf.entries, *key.entries)}.values())
            self._refuse((_mismatch(leaf, key),), entries, self._timing.patience_s)
        for lone in pairing.lone_leaves:
            if lone.leaf.fingerprint not in told:
                self._leave_alone(found("certificate_without_key", subject=lone.leaf.title), lone.entries)
        for lone_key in pairing.lone_keys:
            if lone_key.key.spki not in told:
                self._leave_alone(found("key_without_certificate"), lone_key.entries)
        if self._kind is Kind.INBOX or not (pairing.pairs or pairing.lone_leaves):
            for entry in pairing.authorities:
                self._refuse((found("chain_only"),), (entry,), self._timing.patience_s)

    def _decide_pairs(self, pairing: Pairing) -> None:
        for pair in pairing.pairs:
            if self._knowledge.handled(self._group.path, pair.digest):
                continue
            since = self._memory.latest(self._group.path, pair.entries)
            if self._is_due(since + self._timing.settle_s):
                own = pairing.belongs_to_one(pair)
                until = since + self._timing.patience_s
                self.ready.append(
                    Ready(self._group.path, pair.digest, pair.candidate(), pair.entries, own, until)
                )

    def _faults(
        self, parts: Iterable[Part], *, has_pairs: bool
    ) -> Iterator[tuple[Entry, tuple[Finding, ...]]]:
        for part in parts:
            findings = (part.entry.trouble,) if part.entry.trouble else part.content.errors
            if not findings:
                continue
            if self._kind is Kind.INBOX or _looks_meant(part.entry, findings[0].code, has_pairs=has_pairs):
                yield part.entry, findings

    def _mismatches(self, pairing: Pairing) -> Iterator[tuple[LoneLeaf, LoneKey]]:
        """Find the lone halves that were meant for each other.

        Those that lie in one file or are called alike; else the only certificate and the only key. A key
        that has been told as lonely waits for a certificate that is yet to be issued: it is nobody's but by
        name.
        """
        for leaf in pairing.lone_leaves:
            stems = {PurePath(entry.name).stem for entry in leaf.entries}
            alike = [
                k for k in pairing.lone_keys if stems & {PurePath(entry.name).stem for entry in k.entries}
            ]
            fresh = [k for k in pairing.lone_keys if not self._was_told("key_without_certificate", k.entries)]
            if alike:
                yield leaf, alike[0]
            elif len(pairing.lone_leaves) == 1 and len(fresh) == 1:
                yield leaf, fresh[0]

    def _was_told(self, code: str, entries: Iterable[Entry]) -> bool:
        return self._knowledge.handled(self._group.path, _digest(code, entries)) is not None

    def _refuse(self, findings: tuple[Finding, ...], entries: tuple[Entry, ...], wait_s: float) -> None:
        digest = _digest(findings[0].code, entries)
        if self._knowledge.handled(self._group.path, digest):
            return
        since = self._memory.latest(self._group.path, entries)
        if self._is_due(since + wait_s):
            until = since + self._timing.lonely_s
            own = entries if self._kind is Kind.INBOX else ()
            self._tell(Problem(self._group.path, digest, findings, entries, own, until))

    def _leave_alone(self, finding: Finding, entries: tuple[Entry, ...]) -> None:
        """Tell of a lone half when all is quiet; move it when it has been lonely for long."""
        digest = _digest(finding.code, entries)
        since = self._memory.latest(self._group.path, entries)
        receipt = self._knowledge.handled(self._group.path, digest)
        if receipt is None:
            # any file that still changes may become the other half
            last = self._memory.latest(self._group.path, self._group.entries)
            until = since + self._timing.restless_s
            if self._is_due(min(last + self._timing.patience_s, until)):
                every = self._group.entries
                self._tell(Problem(self._group.path, digest, (finding,), every, (), until))
        elif self._kind is Kind.INBOX and self._is_due(since + self._timing.lonely_s):
            leftover = Leftover(receipt, entries)
            if leftover not in self.leftovers:
                self.leftovers.append(leftover)

    def _tell(self, problem: Problem) -> None:
        """Take in a problem; two of the same kind with the same files (two lone keys in one) are one."""
        for place, other in enumerate(self.problems):
            if other.digest == problem.digest:
                findings = tuple(dict.fromkeys(other.findings + problem.findings))
                self.problems[place] = replace(other, findings=findings)
                return
        self.problems.append(problem)

    def _is_due(self, at: float) -> bool:
        if self._now >= at:
            return True
        self.times.append(at)
        return False


def _digest(code: str, entries: Iterable[Entry]) -> str:
    lines = sorted(f"{entry.digest} {entry.name}" for entry in entries)
    return hashlib.sha256("\n".join([code, *lines]).encode("utf-8", "surrogateescape")).hexdigest()


# What other programs are given beside the pair that we are given too (cert-manager's keystores).
_FOR_OTHERS = frozenset({"passphrase_needed", "container_unsupported"})


def _looks_meant(entry: Entry, code: str, *, has_pairs: bool) -> bool:
    """Whether a faulty file in somebody else's directory is there for us to judge."""
    if has_pairs and code in _FOR_OTHERS:
        return False
    if code in {"file_unreadable", "nothing_usable"}:  # about missing rights we are never silent
        return code == "file_unreadable"
    return PurePath(entry.name).suffix.lower() in _SUFFIXES


def _mismatch(leaf: LoneLeaf, key: LoneKey) -> Finding:
    return found("key_mismatch", subject=leaf.leaf.title, wanted=leaf.leaf.key_title, given=key.key.title)
