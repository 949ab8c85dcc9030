"""Files: what would become of certificate files if they were handed in, and what is in them.

Promises: the same decode, checks and trial handshakes as an import makes, by the same examiner; whatever the
files are, a diagnosis comes out. Where they make no bundle (a certificate without its key), what there is of
certificates is judged all the same. Refuses to know stores: a key that one has already isn't looked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from certstore import (
    Candidate,
    Circumstances,
    Examiner,
    Finding,
    Reference,
    Refusal,
    build_chain,
    check_shown,
    is_authority,
)
from tlsproxy.doctor.anatomy import Anatomy, anatomy_of
from tlsproxy.doctor.diagnosis import Diagnosis

__all__ = ["diagnose_files"]


def diagnose_files(
    candidate: Candidate,
    unreadable: Sequence[Finding],
    examiner: Examiner,
    reference: Reference,
    around: Circumstances,
) -> Diagnosis:
    """Look at files; `unreadable` says which couldn't even be read. Some ms of CPU, or much more."""
    findings, anatomy = list(unreadable), None
    if candidate.files:
        told, anatomy = _examined(candidate, examiner, reference, around)
        findings += told
    is_good = not any(finding.is_error for finding in findings)
    return Diagnosis(
        subject=", ".join(name for name, _ in candidate.files) or "files",
        verdict=_ACCEPTED if is_good else _REFUSED,
        is_well=is_good,
        findings=tuple(findings),
        anatomy=anatomy,
    )


_ACCEPTED = "would be accepted: tlsproxy certs import puts it into effect"
_REFUSED = "would be refused: what is served now would stay"


def _examined(
    candidate: Candidate, examiner: Examiner, reference: Reference, around: Circumstances
) -> tuple[tuple[Finding, ...], Anatomy | None]:
    told: tuple[Finding, ...] = ()
    try:
        with examiner.examine(candidate, lambda _spki: None) as examination:
            bundle, told = examination.bundle, examination.findings
            anatomy = anatomy_of(bundle.leaf, bundle.chain)
            try:
                return (*told, *examination.judge(around)), anatomy
            except Refusal as refusal:
                return (*told, *refusal.findings), anatomy
    except Refusal as refusal:
        certificates = _certificates(candidate, examiner)
        if not certificates:
            return refusal.findings, None
        leaf = next((one for one in certificates if not is_authority(one)), certificates[0])
        chain = build_chain(leaf, certificates).certificates
        judged = check_shown(leaf, chain, reference.surround(leaf, chain, around))
        return (*refusal.findings, *judged), anatomy_of(leaf, chain)


def _certificates(candidate: Candidate, examiner: Examiner) -> list[x509.Certificate]:
    """Give what the examiner could read of certificates, each once, in the order of the files."""
    pems = dict.fromkeys(
        certificate.pem
        for name, content in candidate.files
        for certificate in examiner.read(name, content).certificates
    )
    return [x509.load_pem_x509_certificate(pem) for pem in pems]
