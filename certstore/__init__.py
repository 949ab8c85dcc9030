"""certstore: the life of a device's certificates, on disk and through time. Usable alone.

The life of a certificate, and who is asked on the way:

    files arrive          watch (hints), inbox (pairs files into candidates), or a caller
    what is in them       decode (any file a customer has) -> assembly -> bundle (a key and its chain)
    are they good         checks (a certificate and its circumstances), then a gate that is handed in
    compared with what    reference (known roots, blocklist, own names); constraints, weakness, webpki: pure
    who looks             an examiner: examination.InProcess, or a process that hostile files may ruin
    on to the disk        proposing -> changing -> activation (bundle, slots, generation, prepare, active)
    who is served what    succession -> generation.compute (precedence, expiry): pure, it alone decides
    back, or away         store.roll_back, activate, remove -> reverting (history) -> changing
    onto another device   backup, under a passphrase by sealing -> restoring -> changing
    to another owner      erasure (the wish) -> resetting -> changing -> erasing; suspension of watches
    for a time only       probation -> confirming: confirmed, or gone back
    for the device's life provisioning: asked of the manufacturer (issuers.factory), sealed by proposing
    whose clients         trusting: trust sets (trust, trustchecks), in each generation
    what its issuer says  inquiry (ocsp, revocationlists -> revocation): asked by who has a network
    a key that is lost    bans (asked by the shelf, so by every row) <- parting (what leaves), banning
    a key made here       issuers.csr -> requesting (requests, on the disk): found again by its answer
    what became of it     receipts
    after a crash         recovery (trusttrail: which trust sets were in force)

Values:  names  findings  fingerprints  bundle  meta  slots  generation  receipts  factorystate
         they know no disk and no clock
Disk:    layout (paths)  atomic (the only rename and fsync)  lock  premises  reading
         rooms: shelf  archive  ledger  probation  suspension  erasing  activation
Door:    store (held, locked, changed) = upkeep (what time brings) = showing (its half that only reads)
Makers:  issuers.selfsigned (the device's own certificate), issuers.deviceca (an authority of its own, kept by
         authority)  identity (when to make them again)  firstboot  unit (whose store is it), registration

    with Store.open("/var/lib/device", clock=lambda: datetime.now(UTC)) as store:
        receipt = store.propose(Candidate(files), source=Source.CUSTOMER, via="api", examiner=InProcess())
        print(receipt.state, receipt.codes, store.active)

Nothing here opens a socket. What waits for events (`watch`, `inbox`) needs trio and is imported by its own
name; what makes or changes something is imported by this door at its first use. So a process that only reads
a store stays small.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from certstore.alpnproof import ACME_TLS, alpn_proof, asked_as
from certstore.bans import Ban, Reason, is_spki, read_bans
from certstore.bundle import Bundle, PrivateKey, is_issued_by, key_from_pem, key_to_pem, key_words, spki_of
from certstore.erasure import Reset, Scope
from certstore.errors import (
    AnswersUngiven,
    BackupUnreadable,
    NotFound,
    RandomNotReady,
    Refusal,
    StoreCorrupt,
    StoreError,
    StoreExhausted,
    StoreGone,
    StoreInsecure,
    StoreLocked,
    StoreNewer,
    StoreNotWritable,
)
from certstore.extensions import alternative_names, issuer_urls, name_words, subject_words
from certstore.findings import Finding, Severity, found, genuine
from certstore.firstboot import BUILD_DATE, clock_plausible, random_ready
from certstore.generation import BundleFacts, Cause, Generation, Row, Trusted, compute
from certstore.layout import SERVED_FOLDERS
from certstore.meta import Meta
from certstore.names import covers, is_address, normalise
from certstore.probation import BootClock, BootTime, Probation
from certstore.reading import (
    read_bundle,
    read_generation,
    read_generations,
    read_receipts,
    read_slots,
    read_trust,
)
from certstore.receipts import Receipt, State, newest_seen
from certstore.slots import Slot, Source, slot_id
from certstore.trust import TrustSet, is_signed_by, is_trust_name
from certstore.unit import Seen, Verdict
from certstore.unit import judge as judge_unit

if TYPE_CHECKING:
    from certstore.assembly import assemble
    from certstore.authority import read_authority
    from certstore.backup import Backup, take_backup
    from certstore.chain import build_chain, is_authority, issuer_among
    from certstore.checks import check, check_shown
    from certstore.circumstances import Circumstances
    from certstore.contents import Content, issuer_in
    from certstore.decode import LARGEST_FILE, LONGEST_PASSPHRASE, Candidate, locked
    from certstore.examination import Examination, Examiner, InProcess, KnownKey
    from certstore.gates import Gate, NullGate, NullPublisher, Publisher
    from certstore.imaging import Leak, leaks_of, stores_under
    from certstore.inquiry import judge_answer, largest_answer, places_to_ask, question_for
    from certstore.issuers.acme.challenges import Answer, Answering, Challenge
    from certstore.issuers.csr import KeyType, Subject
    from certstore.issuers.deviceca import Authority
    from certstore.issuers.selfsigned import Identity
    from certstore.loading import load_certificate
    from certstore.reference import USUAL_ROOTS, Comparison, Reference
    from certstore.registration import Registration
    from certstore.requesting import Wish, is_answered
    from certstore.requests import Request, read_requests
    from certstore.revocation import REASONS, Judgement, Status, Way, is_to_be_stapled
    from certstore.sealing import seal, unseal
    from certstore.store import Clock, Store
    from certstore.trustchecks import Material

__all__ = [
    "ACME_TLS",
    "BUILD_DATE",
    "LARGEST_FILE",
    "LONGEST_PASSPHRASE",
    "REASONS",
    "SERVED_FOLDERS",
    "USUAL_ROOTS",
    "Answer",
    "Answering",
    "AnswersUngiven",
    "Authority",
    "Backup",
    "BackupUnreadable",
    "Ban",
    "BootClock",
    "BootTime",
    "Bundle",
    "BundleFacts",
    "Candidate",
    "Cause",
    "Challenge",
    "Circumstances",
    "Clock",
    "Comparison",
    "Content",
    "Examination",
    "Examiner",
    "Finding",
    "Gate",
    "Generation",
    "Identity",
    "InProcess",
    "Judgement",
    "KeyType",
    "KnownKey",
    "Leak",
    "Material",
    "Meta",
    "NotFound",
    "NullGate",
    "NullPublisher",
    "PrivateKey",
    "Probation",
    "Publisher",
    "RandomNotReady",
    "Reason",
    "Receipt",
    "Reference",
    "Refusal",
    "Registration",
    "Request",
    "Reset",
    "Row",
    "Scope",
    "Seen",
    "Severity",
    "Slot",
    "Source",
    "State",
    "Status",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreExhausted",
    "StoreGone",
    "StoreInsecure",
    "StoreLocked",
    "StoreNewer",
    "StoreNotWritable",
    "Subject",
    "TrustSet",
    "Trusted",
    "Verdict",
    "Way",
    "Wish",
    "alpn_proof",
    "alternative_names",
    "asked_as",
    "assemble",
    "build_chain",
    "check",
    "check_shown",
    "clock_plausible",
    "compute",
    "covers",
    "found",
    "genuine",
    "is_address",
    "is_answered",
    "is_authority",
    "is_issued_by",
    "is_signed_by",
    "is_spki",
    "is_to_be_stapled",
    "is_trust_name",
    "issuer_among",
    "issuer_in",
    "issuer_urls",
    "judge_answer",
    "judge_unit",
    "key_from_pem",
    "key_to_pem",
    "key_words",
    "largest_answer",
    "leaks_of",
    "load_certificate",
    "locked",
    "name_words",
    "newest_seen",
    "normalise",
    "places_to_ask",
    "question_for",
    "random_ready",
    "read_authority",
    "read_bans",
    "read_bundle",
    "read_generation",
    "read_generations",
    "read_receipts",
    "read_requests",
    "read_slots",
    "read_trust",
    "seal",
    "slot_id",
    "spki_of",
    "stores_under",
    "subject_words",
    "take_backup",
    "unseal",
]

# Whose room is opened at the first use: a worker carries none of them, an examiner no store.
_LATER = {
    "read_authority": "certstore.authority",
    "Backup": "certstore.backup",
    "take_backup": "certstore.backup",
    "seal": "certstore.sealing",
    "unseal": "certstore.sealing",
    "build_chain": "certstore.chain",
    "is_authority": "certstore.chain",
    "issuer_among": "certstore.chain",
    "issuer_in": "certstore.contents",
    "check": "certstore.checks",
    "check_shown": "certstore.checks",
    "Circumstances": "certstore.circumstances",
    "Content": "certstore.contents",
    "LARGEST_FILE": "certstore.decode",
    "LONGEST_PASSPHRASE": "certstore.decode",
    "locked": "certstore.decode",
    "Candidate": "certstore.decode",
    "assemble": "certstore.assembly",
    "Examination": "certstore.examination",
    "Examiner": "certstore.examination",
    "Answer": "certstore.issuers.acme.challenges",
    "Answering": "certstore.issuers.acme.challenges",
    "Challenge": "certstore.issuers.acme.challenges",
    "InProcess": "certstore.examination",
    "KnownKey": "certstore.examination",
    "Gate": "certstore.gates",
    "NullGate": "certstore.gates",
    "NullPublisher": "certstore.gates",
    "Publisher": "certstore.gates",
    "Leak": "certstore.imaging",
    "leaks_of": "certstore.imaging",
    "stores_under": "certstore.imaging",
    "judge_answer": "certstore.inquiry",
    "largest_answer": "certstore.inquiry",
    "places_to_ask": "certstore.inquiry",
    "question_for": "certstore.inquiry",
    "Registration": "certstore.registration",
    "KeyType": "certstore.issuers.csr",
    "Subject": "certstore.issuers.csr",
    "Authority": "certstore.issuers.deviceca",
    "Identity": "certstore.issuers.selfsigned",
    "Wish": "certstore.requesting",
    "is_answered": "certstore.requesting",
    "Request": "certstore.requests",
    "read_requests": "certstore.requests",
    "load_certificate": "certstore.loading",
    "Comparison": "certstore.reference",
    "USUAL_ROOTS": "certstore.reference",
    "Reference": "certstore.reference",
    "REASONS": "certstore.revocation",
    "Judgement": "certstore.revocation",
    "Status": "certstore.revocation",
    "Way": "certstore.revocation",
    "is_to_be_stapled": "certstore.revocation",
    "Clock": "certstore.store",
    "Store": "certstore.store",
    "Material": "certstore.trustchecks",
}

if not TYPE_CHECKING:  # a type checker would take every name for one of these

    def __getattr__(name: str) -> object:
        """Give one of `_LATER` (PEP 562)."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value
