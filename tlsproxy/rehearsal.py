"""A dry run: what would become of a candidate, found out without keeping anything of it.

Promises: the same examination as for a real one (decode, checks, gate), and the store's own rule about sealed
slots; nothing is written, no receipt made, and nothing that is served changes. Can't promise what only a
change itself shows: a disk that is full, a worker that can't build it.
"""

from __future__ import annotations

from dataclasses import dataclass

from certstore import Bundle, Candidate, Examiner, Finding, Refusal, Source, Store, found, slot_id

__all__ = ["Rehearsal", "rehearse"]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A candidate that would be served, and what was found on the way."""

    bundle: Bundle
    findings: tuple[Finding, ...]


def rehearse(store: Store, examiner: Examiner, candidate: Candidate, source: Source) -> Rehearsal:
    """Examine a candidate, in a thread: it takes as long as a real one. Raises Refusal."""
    with examiner.examine(candidate, store.known_key) as examination:
        bundle = examination.bundle
        key = (source, slot_id(bundle.names))
        slot = next((slot for slot in store.slots() if slot.key == key), None)
        told = (*examination.findings, *store.requests.answers(bundle))
        if store.is_banned(bundle.spki):
            raise Refusal(*told, found("key_banned", key=bundle.spki))
        if slot is not None and slot.bundle == bundle.id:
            return Rehearsal(bundle, (*told, found("already_live")))
        if slot is not None and slot.sealed:
            raise Refusal(*told, found("slot_sealed", source=source))
        try:
            told += examination.judge(store.circumstances(bundle))
        except Refusal as refusal:
            raise Refusal(*told, *refusal.findings) from None
        return Rehearsal(bundle, told)
