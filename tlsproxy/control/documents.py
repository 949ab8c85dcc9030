"""What the API answers with, as types: the schemas of the OpenAPI document are made of these.

Promises: each answer in JSON fits its type here (the tests hold every answer against its schema); a later
version adds keys, and never takes one away or gives it another meaning. No key is in any of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256

from certstore import Bundle, Generation, Meta, Severity, Slot, Source, State
from certstore.factorystate import Stage
from tlsproxy.observe.status import Status

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class FindingDocument(msgspec.Struct):
    """One result of a check: a stable code, words for a person, and what to do (docs/findings.md)."""

    code: str
    severity: Severity
    words: str
    hint: str


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """What stood in the way (RFC 9457); `code` is stable."""

    type: str
    status: int
    title: str
    detail: str
    code: str
    hint: str = ""
    findings: list[FindingDocument] | None = None
    receipt: ReceiptDocument | None = None


class ReceiptDocument(msgspec.Struct):
    """What became of a candidate, or of another change; `times` says when it came to each state.

    `cause` says what was wanted; `confirm_within_s` how long a live change has for being confirmed.
    `beside`, where there is one, is the RSA bundle of a pair of which `bundle` is the EC one; `trust` the
    trust set that a change is about.
    """

    id: str
    state: State
    source: Source
    via: str
    bundle: Hash | None
    generation: Count | None
    findings: list[FindingDocument]
    times: dict[str, datetime]
    cause: str
    confirm_within_s: float | None
    beside: Hash | msgspec.UnsetType = msgspec.UNSET
    trust: AboutTrustDocument | msgspec.UnsetType = msgspec.UNSET


class AboutTrustDocument(msgspec.Struct):
    """The trust set that a change is about, and what it holds from then on: null for nothing."""

    name: str
    id: Hash | None


class UploadedDocument(ReceiptDocument):
    """What became of an upload; `confirm_word` confirms it over the network, where it waits for that.

    No other answer has that word, and nothing keeps it.
    """

    confirm_word: str | msgspec.UnsetType = msgspec.UNSET


class RehearsalDocument(msgspec.Struct):
    """What a candidate would be: nothing of it was kept."""

    dry_run: bool
    bundle: WholeBundleDocument
    findings: list[FindingDocument]
    beside: WholeBundleDocument | msgspec.UnsetType = msgspec.UNSET


class ReceiptsDocument(msgspec.Struct):
    """The latest receipts, newest first."""

    receipts: list[ReceiptDocument]


class SlotDocument(msgspec.Struct):
    """What one source has for one set of names.

    `beside`, where there is one, is the RSA bundle of a pair of which `bundle` is the EC one;
    `confirmed_beside` the one that stood beside `last_confirmed`.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    source: Source
    names: list[str]
    bundle: Hash
    last_confirmed: Hash | None
    via: str
    sealed: bool
    receipt: str
    stored_at: datetime
    since: Count
    beside: Hash | msgspec.UnsetType = msgspec.UNSET
    confirmed_beside: Hash | msgspec.UnsetType = msgspec.UNSET


class SlotsDocument(msgspec.Struct):
    """All slots, the highest source first."""

    slots: list[SlotDocument]


class BundleDocument(msgspec.Struct):
    """A certificate with its chain; its private key is here too, and leaves by no way."""

    id: Hash
    fingerprint: Hash
    spki: Hash
    names: list[str]
    key_type: str
    not_before: datetime
    not_after: datetime
    self_signed: bool


class ChainLink(msgspec.Struct):
    """One certificate of a chain, the device's own first; `fingerprint` is SHA-256 of its DER."""

    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    fingerprint: Hash


class WholeBundleDocument(BundleDocument):
    """A bundle with its certificates and the slots that name it."""

    certificates: list[ChainLink]
    slots: list[SlotDocument]


class BundlesDocument(msgspec.Struct):
    """All bundles that a slot names or that are served."""

    bundles: list[BundleDocument]


class RowDocument(msgspec.Struct):
    """A name pattern, its bundle, and whose that is; `beside`: for clients that can't use `bundle`."""

    pattern: str
    bundle: Hash
    source: Source
    beside: Hash | msgspec.UnsetType = msgspec.UNSET


class GenerationSummary(msgspec.Struct):
    """A generation in short: how many names it serves, and why it was made."""

    number: Count
    active: bool
    cause: str
    receipt: str | None
    made_at: datetime
    names: Count


class GenerationsDocument(msgspec.Struct):
    """The generations that are kept, newest first."""

    generations: list[GenerationSummary]


class GenerationDocument(msgspec.Struct):
    """What is, was or would be served: rows, and the default for everybody else."""

    number: Count
    active: bool
    cause: str
    receipt: str | None
    made_at: datetime
    default: Hash | None
    rows: list[RowDocument]
    slots: list[SlotDocument]
    default_beside: Hash | msgspec.UnsetType = msgspec.UNSET


class GenerationConnections(msgspec.Struct):
    """How many connections were made by one generation and are still open."""

    generation: Count
    connections: Count


class WorkerDocument(msgspec.Struct):
    """A worker process: its sockets' seat, the reload that started it, how far its life has come.

    `generations`: its open connections by the generation that each was made with, the newest first.
    `since`: when the process began, null where the system doesn't tell.
    """

    pid: int
    seat: Count
    epoch: Count
    stage: str
    generation: Count | None
    connections: Count
    generations: list[GenerationConnections]
    since: datetime | None


class ServedDocument(msgspec.Struct):
    """A certificate that is served; `issuer` is a name as RFC 4514 writes it."""

    names: list[str]
    source: str
    sha256: Hash
    spki_sha256: Hash
    not_before: datetime
    not_after: datetime
    issuer: str
    key_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDocument(Status):
    """The state of everything. `served` has each certificate that is served, the default first.

    `version` is the running proxy's; a command that reads a store at rest gives its own, and no `pid`.
    """

    version: str
    pid: int | None
    control: str
    served: list[ServedDocument]
    rung_words: str


class WorkersDocument(msgspec.Struct):
    """All workers, in the order in which they came."""

    workers: list[WorkerDocument]


class ConnectionsDocument(msgspec.Struct):
    """Open connections: in all, and by the generation by which each was made; as of the last heartbeat.

    `greeting`: those that are in no generation yet or never will be (handshakes, redirects).
    """

    open: Count
    greeting: Count
    generations: list[GenerationConnections]


class HealthDocument(msgspec.Struct):
    """How the proxy is: `ready` when every name is served and somebody accepts; and what isn't well."""

    live: bool
    ready: bool
    rung: str
    rung_words: str
    generation: Count | None
    workers: Count
    findings: list[FindingDocument]


class ReloadDocument(msgspec.Struct):
    """The reload that will come: `process.epoch` of the status says when it is there."""

    epoch: Count


class FactoryDocument(msgspec.Struct):
    """What the device has of its manufacturer; null is what isn't there (yet).

    `csr` is the request that waits for its certificate, in PEM. `spki_sha256` is the key's hash, which stays
    when the certificate is issued anew; `sha256` the certificate's. `receipt` is its installation's.
    """

    state: Stage
    serial: str | None
    names: list[str]
    key_type: str | None
    spki_sha256: Hash | None
    csr: str | None
    sha256: Hash | None
    not_after: datetime | None
    sealed: bool
    receipt: str | None


class WatchesDocument(msgspec.Struct):
    """Watched directories are looked at; `changed`: they were suspended until now."""

    enabled: bool
    changed: bool


def slot_to_json(slot: Slot) -> dict[str, object]:
    """Give a slot as it is shown."""
    return {"id": slot.id, **slot.to_json()}


def meta_to_json(meta: Meta) -> dict[str, object]:
    """Give what is known of a bundle as it is shown."""
    shown = meta.to_json(0, 0)
    return {key: shown[key] for key in BundleDocument.__struct_fields__}


def bundle_to_json(bundle: Bundle, slots: Iterable[Slot] = ()) -> dict[str, object]:
    """Give a bundle with its certificates as it is shown, and the slots that name it."""
    links = [
        {
            "subject": one.subject.rfc4514_string(),
            "issuer": one.issuer.rfc4514_string(),
            "serial": f"{one.serial_number:x}",
            "not_before": one.not_valid_before_utc.isoformat(),
            "not_after": one.not_valid_after_utc.isoformat(),
            "fingerprint": one.fingerprint(SHA256()).hex(),
        }
        for one in (bundle.leaf, *bundle.chain)
    ]
    return {
        **meta_to_json(Meta.of(bundle)),
        "certificates": links,
        "slots": [slot_to_json(slot) for slot in slots],
    }


def summary_to_json(generation: Generation, active: int | None) -> dict[str, object]:
    """Give a generation in short."""
    shown = generation_to_json(generation, active)
    kept = {key: shown[key] for key in GenerationSummary.__struct_fields__ if key in shown}
    return {**kept, "names": len(generation.rows)}


def generation_to_json(generation: Generation, active: int | None) -> dict[str, object]:
    """Give a generation as it is shown."""
    shown = generation.to_json()
    return {
        **shown,
        "active": generation.number == active,
        "slots": [slot_to_json(slot) for slot in generation.slots],
    }
