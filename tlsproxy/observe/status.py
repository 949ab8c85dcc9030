"""The state of everything as one frozen value: what is served, since when, for how long, and on which rung.

Promises: made of values only, so a running proxy and a command that reads a store at rest say the same
things; `to_json` and `from_json` are inverse. Holds nothing secret: fingerprints, never keys. Refuses to
know: where the facts come from (control/, cli/), and how it is said (rendering.py, cli/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from certstore import Bundle, Finding, Generation, Receipt, Slot, Source, StoreError
from tlsproxy import __version__
from tlsproxy.observe.expiry import Step, step_of
from tlsproxy.observe.upstreams import UpstreamStatus
from tlsproxy.privilege.facts import Confined

_DAY_S = 86_400
# What is told of each served certificate in the words of the trade, and what we call it.
_SERVED = {
    **{same: same for same in ("names", "source", "not_before", "not_after", "issuer", "key_type")},
    "sha256": "fingerprint",
    "spki_sha256": "spki",
}


class Rung(StrEnum):
    """Where on the ladder of "never dark" the proxy stands, the best first."""

    WANTED = "wanted"
    FALLBACK = "fallback"
    GENERATED = "generated"
    EXPIRED = "expired"
    MEMORY = "memory"
    NOTHING = "nothing"

    @property
    def words(self) -> str:
        """Say it to a person."""
        return _RUNG_WORDS[self]


_RUNG_WORDS: Mapping[Rung, str] = {
    Rung.WANTED: "the certificate that was wanted is served",
    Rung.FALLBACK: "another source's certificate stands in for the one that was wanted",
    Rung.GENERATED: "the device's own self-signed certificate is served: no other was given yet",
    Rung.EXPIRED: "AN EXPIRED CERTIFICATE is served: there is nothing valid to replace it",
    Rung.MEMORY: "a certificate kept only in memory is served: the store can't be used",
    Rung.NOTHING: "the store has no certificate yet: the first start makes one",
}


@dataclass(frozen=True, slots=True)
class Process:
    """The running proxy: its process id, version, and since when it serves."""

    pid: int
    since: datetime
    version: str = __version__
    epoch: int = 1  # counted up by each reload


@dataclass(frozen=True, slots=True)
class Software:
    """What the running proxy has loaded, whatever lies on the disk by now; `engine`: the one that serves."""

    python: str
    cryptography: str
    engine: str
    openssl_system: str
    openssl_bundled: str

    @property
    def words(self) -> str:
        """Say it to a person, in one line."""
        served = {"system": self.openssl_system, "bundled": self.openssl_bundled}.get(self.engine, "?")
        return f"Python {self.python}; TLS by {served} ({self.engine} engine)"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker process: whose sockets it has, since which reload it runs, how far its life has come."""

    pid: int
    seat: int
    epoch: int
    stage: str
    connections: int
    generation: int | None = None
    """What it serves to new connections; None before the first, and while nothing on disk can be served."""
    generations: tuple[tuple[int, int], ...] = ()
    """Open connections by the generation that they were made with, as (generation, connections)."""


@dataclass(frozen=True, slots=True)
class ConfinementStatus:
    """How little power a process has: kind is "supervisor", "examiner", "hook helper", "worker"."""

    kind: str
    facts: Confined


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """An address as configured, what is spoken there ("tls" or "http"), and the port really bound."""

    address: str
    kind: str
    port: int


@dataclass(frozen=True, slots=True)
class BundleStatus:
    """A bundle that is served, the default first. `days_left` is rounded down, negative after the end."""

    id: str
    fingerprint: str
    spki: str
    names: tuple[str, ...]
    source: str
    key_type: str
    not_before: datetime
    not_after: datetime
    days_left: int
    self_signed: bool
    issuer: str = ""
    """Its issuer's name as RFC 4514 writes it; "" where an older proxy told of it."""
    step: Step = Step.FINE
    """Where on the expiry ladder it stands; fine while the clock can't be right."""


@dataclass(frozen=True, slots=True)
class RowStatus:
    """Which bundle a name pattern gets, and whose it is."""

    pattern: str
    bundle: str
    source: str
    clients: str = "off"
    """Whether its clients have to show a certificate ("required"), may ("optional"), or aren't asked ("off").

    Where that depends on the port: each word there is, with commas.
    """
    beside: str | None = None
    """The RSA bundle for clients that can't use `bundle`."""


@dataclass(frozen=True, slots=True)
class AskedStatus:
    """A rule by which clients are asked for a certificate: for whom it is, in words, and by which trust set.

    mode: as `RowStatus.clients`. is_there: whether the set is; without it, nobody gets in who shows one.
    """

    mode: str
    whose: str
    trust: str
    is_there: bool

    @property
    def words(self) -> str:
        """Say it to a person."""
        if self.mode == "off":
            return f"{self.whose}: not asked for a certificate"
        missing = "" if self.is_there else ", which ISN'T THERE"
        return f"{self.whose}: certificate {self.mode}, by the trust set {self.trust}{missing}"


@dataclass(frozen=True, slots=True)
class TroubleStatus:
    """Something that isn't well, as long as it lasts: a finding (docs/findings.md)."""

    code: str
    severity: str
    words: str
    hint: str

    @classmethod
    def of(cls, finding: Finding) -> TroubleStatus:
        """Make one of a finding."""
        return cls(finding.code, str(finding.severity), finding.words, finding.hint)


@dataclass(frozen=True, slots=True)
class Place:
    """Where things lie, for people who look for them."""

    store: str
    inbox: str
    control: str


@dataclass(frozen=True, slots=True)
class Status:
    """All that `tlsproxy status` tells. `process` is None while no proxy runs; receipts are newest first."""

    process: Process | None
    place: Place
    rung: Rung
    clock_plausible: bool
    at: datetime
    generation: int | None
    generation_at: datetime | None
    cause: str
    default: str | None
    rows: tuple[RowStatus, ...]
    bundles: tuple[BundleStatus, ...]
    slots: tuple[dict[str, object], ...]
    listeners: tuple[ListenerStatus, ...]
    receipts: tuple[dict[str, object], ...]
    workers: tuple[WorkerStatus, ...] = ()
    confinement: tuple[ConfinementStatus, ...] = ()
    software: Software | None = None
    upstreams: tuple[UpstreamStatus, ...] = ()
    """Those that are watched (docs/health.md)."""
    asked: tuple[AskedStatus, ...] = ()
    """Whose clients are asked for certificates (docs/client-certificates.md)."""
    troubles: tuple[TroubleStatus, ...] = ()
    """What health tells beside the rung."""
    default_beside: str | None = None
    """The RSA bundle beside the default's."""
    strict_names: bool = False
    """Whether strangers are refused (docs/tls-policy.md), and not served the default."""

    def served_to(self, bundle: str) -> list[str]:
        """Say to whom a bundle is served: the names, and strangers by the default, if they are served."""
        patterns = [row.pattern for row in self.rows if bundle in {row.bundle, row.beside}]
        if bundle not in {self.default, self.default_beside}:
            return patterns
        return [*patterns, "nobody else (strict_names)" if self.strict_names else "everything else"]

    def to_json(self) -> dict[str, object]:
        """Give what JSON can hold, as control/documents.py has it: at its top what scripts ask for first."""
        document = msgspec.to_builtins(self)
        running = self.process
        return {
            "version": running.version if running else __version__,
            "pid": running.pid if running else None,
            "control": self.place.control,
            "served": [
                {ours: bundle[theirs] for ours, theirs in _SERVED.items()} for bundle in document["bundles"]
            ],
            **document,
            "rung_words": self.rung.words,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Status:
        """Read what `to_json` gave; further keys of a newer version are left out.

        Raises:
            ValueError: it is no status document.

        """
        return msgspec.convert(document, cls)


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store says at one moment; `bundle` gives a bundle by its id, or raises where it can't."""

    generation: Generation | None
    slots: Sequence[Slot]
    receipts: Sequence[Receipt]
    bundle: Callable[[str], Bundle]
    clock_plausible: bool


def describe(
    facts: StoreFacts,
    *,
    place: Place,
    now: datetime,
    process: Process | None = None,
    listeners: Sequence[ListenerStatus] = (),
    workers: Sequence[WorkerStatus] = (),
) -> Status:
    """Put the facts together into a status. A bundle that can't be loaded is left out of `bundles`."""
    generation = facts.generation
    bundles = _bundles(facts, now)
    default = generation.default if generation else None
    served_until = next((bundle.not_after for bundle in bundles if bundle.id == default), None)
    return Status(
        process=process,
        place=place,
        rung=rung_of(facts, served_until, now),
        clock_plausible=facts.clock_plausible,
        at=now,
        generation=generation.number if generation else None,
        generation_at=generation.made_at if generation else None,
        cause=generation.cause if generation else "",
        default=default,
        default_beside=generation.default_beside if generation else None,
        rows=tuple(RowStatus(r.pattern, r.bundle, str(r.source), beside=r.beside) for r in generation.rows)
        if generation
        else (),
        bundles=bundles,
        slots=tuple(slot.to_json() for slot in facts.slots),
        listeners=tuple(listeners),
        receipts=tuple(receipt.to_json() for receipt in facts.receipts),
        workers=tuple(workers),
    )


def _bundles(facts: StoreFacts, now: datetime) -> tuple[BundleStatus, ...]:
    if facts.generation is None:
        return ()
    found = []
    default = facts.generation.default
    beside = facts.generation.default_beside
    for id_ in sorted(facts.generation.bundles(), key=lambda id_: (id_ != default, id_ != beside, id_)):
        try:
            bundle = facts.bundle(id_)
        except StoreError:  # a status must come even where the store is damaged; the rung tells
            continue
        found.append(
            BundleStatus(
                id=id_,
                fingerprint=bundle.fingerprint,
                spki=bundle.spki,
                names=bundle.names,
                source=str(source) if (source := _source_of(facts.generation, id_)) else "",
                key_type=bundle.key_type,
                not_before=bundle.not_before,
                not_after=bundle.not_after,
                days_left=int((bundle.not_after - now).total_seconds() // _DAY_S),
                self_signed=bundle.self_signed,
                issuer=bundle.leaf.issuer.rfc4514_string(),
                step=step_of(bundle.not_before, bundle.not_after, now if facts.clock_plausible else None),
            )
        )
    return tuple(found)


def _source_of(generation: Generation, bundle: str) -> Source | None:
    """Say whose a served bundle is: by its slot, or by a row where it is a slot's way back."""
    holders = [slot.source for slot in generation.slots if bundle in slot.ways]
    holders += [row.source for row in generation.rows if bundle in {row.bundle, row.beside}]
    return min(holders, key=lambda source: source.rank, default=None)


def rung_of(facts: StoreFacts, served_until: datetime | None, now: datetime) -> Rung:
    """Say where we stand; `served_until`: the end of the default row's bundle, None where it has none."""
    generation = facts.generation
    if generation is None or (generation.default is None and not generation.rows):
        return Rung.NOTHING if generation is None else Rung.MEMORY
    if served_until is None:
        return Rung.MEMORY
    if facts.clock_plausible and served_until < now:
        return Rung.EXPIRED
    wanted = min((slot.source for slot in generation.slots), key=lambda source: source.rank, default=None)
    if wanted is Source.GENERATED:
        return Rung.GENERATED
    current = {slot.bundles for slot in generation.slots if slot.source is wanted}
    served = (generation.default, generation.default_beside)
    return Rung.WANTED if tuple(id_ for id_ in served if id_ is not None) in current else Rung.FALLBACK
