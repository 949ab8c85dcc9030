"""A dry run: what would become of a candidate, found out without keeping anything of it.

Promises: the same examination as for a real one (decode, checks, gate), and the store's own rule about sealed
slots; nothing is written, no receipt made, and nothing that is served changes. Can't promise what only a
change itself shows: a disk that is full, a worker that can't build it.
"""

from __future__ import annotations

from dataclasses import dataclass

from certstore import Bundle, Candidate, Examiner, Finding, Source, Store

__all__ = ["Rehearsal", "rehearse"]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A candidate that would be served, and what was found on the way; `beside`: the RSA half of a pair."""

    bundle: Bundle
    findings: tuple[Finding, ...]
    beside: Bundle | None = None


def rehearse(
    store: Store, examiner: Examiner, candidate: Candidate, source: Source, *, beside: bool = False
) -> Rehearsal:
    """Examine a candidate, in a thread: it takes as long as a real one. Raises Refusal.

    beside: as `Store.propose` takes it.
    """
    bundles, findings = store.rehearse(candidate, source=source, examiner=examiner, beside=beside)
    return Rehearsal(bundles[0], findings, bundles[1] if len(bundles) > 1 else None)
