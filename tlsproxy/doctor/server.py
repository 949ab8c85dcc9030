"""A server: what visits to it mean: whether clients take it, its chain is whole, and its TLS is up to date.

Pure but for reading certificates. The same checks as for a file, and what only a server can get wrong.
Refuses to know the network (visiting.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509

from certstore import (
    Circumstances,
    Finding,
    Reference,
    alternative_names,
    build_chain,
    check_shown,
    covers,
    found,
    is_issued_by,
    load_certificate,
    name_words,
    subject_words,
)
from certstore.circumstances import Anchor
from tlsproxy.doctor.anatomy import Anatomy, anatomy_of
from tlsproxy.doctor.destination import Destination
from tlsproxy.doctor.diagnosis import Diagnosis
from tlsproxy.doctor.visiting import Look, Visit
from tlsproxy.tls.engines.probe import Version

__all__ = ["diagnose_server"]


@dataclass(frozen=True, slots=True)
class _Shown:
    """The certificates that a server sent, and the order in which they belong."""

    leaf: x509.Certificate
    others: tuple[x509.Certificate, ...]
    chain: tuple[x509.Certificate, ...]
    has_root: bool
    strangers: tuple[x509.Certificate, ...]

    @classmethod
    def of(cls, ders: Sequence[bytes]) -> _Shown:
        """Read them; ValueError where one can't be read."""
        leaf, *others = map(load_certificate, ders)
        built = build_chain(leaf, others)
        return cls(leaf, tuple(others), built.certificates, built.has_root, built.others)


def diagnose_server(
    destination: Destination, looks: Sequence[Look], reference: Reference, around: Circumstances
) -> Diagnosis:
    """Judge by the first address that answers; of the others, what is different there."""
    chosen = _chosen(looks)
    good = next((visit for visit in chosen.visits if visit.is_answered), None)
    findings: tuple[Finding, ...]
    anatomy: Anatomy | None = None
    if good is None:
        findings = (_failure(destination, chosen.visits),)
    else:
        try:
            shown = _Shown.of(good.chain)
        except ValueError as error:
            findings = (found("certificate_unparsable", file=destination, why=error),)
        else:
            anatomy = anatomy_of(shown.leaf, shown.chain)
            judged = _judged(shown, good, reference, around)
            told = (*_asked(chosen.visits), *_versions(chosen.visits))
            findings = (*told, *_name(destination, shown), *judged)
        findings += tuple(_elsewhere(chosen, looks))
    is_well = not any(finding.is_error for finding in findings)
    return Diagnosis(
        subject=f"{destination.server_name} at {destination}",
        verdict=_verdict(chosen, is_well=is_well),
        is_well=is_well,
        findings=findings,
        anatomy=anatomy,
        facts=tuple(_facts(destination, chosen, looks)),
    )


def _verdict(chosen: Look, *, is_well: bool) -> str:
    if not any(visit.is_connected for visit in chosen.visits):
        return "clients can't reach it"
    return "clients that know its authority accept it" if is_well else "clients refuse it"


def _chosen(looks: Sequence[Look]) -> Look:
    """Take the first that answers, else the first that can be connected to, else the first."""
    answered = (look for look in looks if look.is_answered)
    connected = (look for look in looks if any(visit.is_connected for visit in look.visits))
    return next(answered, next(connected, looks[0]))


def _failure(destination: Destination, visits: Sequence[Visit]) -> Finding:
    for visit in visits:
        if visit.answer:
            answer = visit.answer.decode("latin-1").splitlines()[0]
            return found("server_not_tls", address=destination, answer=answer)
    if not any(visit.is_connected for visit in visits):
        return found("server_unreachable", address=destination, why=visits[0].failure)
    why = "; ".join(f"{visit.version}: {visit.failure}" for visit in visits)
    return found("server_handshake_failed", address=destination, why=why)


def _elsewhere(chosen: Look, looks: Sequence[Look]) -> Iterator[Finding]:
    """Tell of further addresses that are silent, or show something else: clients take any of them."""
    leaves = {visit.version: visit.chain[:1] for visit in chosen.visits if visit.chain}
    for look in looks:
        if look is chosen:
            continue
        if not look.is_answered:
            yield found("server_address_silent", address=look.address, why=look.visits[0].failure)
        elif any(visit.chain and visit.chain[:1] != leaves.get(visit.version) for visit in look.visits):
            yield found("server_address_differs", address=look.address, other=chosen.address)


def _versions(visits: Sequence[Visit]) -> Iterator[Finding]:
    codes = {Version.TLS13: "server_old_version", Version.TLS12: "server_new_version_only"}
    for visit in visits:
        if visit.facts is None and not visit.is_asked:
            yield found(codes[visit.version], why=visit.failure)


def _asked(visits: Sequence[Visit]) -> Iterator[Finding]:
    """Tell that clients are asked for a certificate: we have none, so how it ends says nothing of them."""
    ended = [visit for visit in visits if visit.is_asked and visit.facts is None]
    if ended:
        why = "; ".join(f"{visit.version}: {visit.failure}" for visit in ended)
        yield found("server_wants_certificate", why=why)
    elif any(visit.is_asked for visit in visits):
        yield found("server_asks_certificate")


def _name(destination: Destination, shown: _Shown) -> Iterator[Finding]:
    names, _ = alternative_names(shown.leaf)
    if names and not any(covers(pattern, destination.server_name) for pattern in names):
        yield found("server_name_mismatch", name=destination.server_name, covered=", ".join(names))


def _judged(shown: _Shown, visit: Visit, reference: Reference, around: Circumstances) -> Iterator[Finding]:
    yield from _order(shown)
    surrounded = reference.surround(shown.leaf, shown.chain, around)
    is_own = is_issued_by(shown.leaf, shown.leaf)
    if not shown.chain and not shown.has_root and not is_own and surrounded.anchor is not Anchor.KNOWN:
        yield found("incomplete_chain", issuer=name_words(shown.leaf.issuer))
    for finding in check_shown(shown.leaf, shown.chain, surrounded):
        if finding.code != "must_staple" or not visit.has_staple:
            yield finding


def _order(shown: _Shown) -> Iterator[Finding]:
    as_sent = [one for one in shown.others if one in shown.chain]
    if list(dict.fromkeys(as_sent)) != list(shown.chain):
        yield found("server_chain_disordered")
    roots = [one for one in shown.others if one not in shown.chain and is_issued_by(one, one)]
    for certificate in dict.fromkeys((*roots, *shown.strangers)):
        code = "server_root_sent" if certificate in roots else "server_stranger_sent"
        yield found(code, subject=subject_words(certificate))


def _facts(destination: Destination, chosen: Look, looks: Sequence[Look]) -> Iterator[tuple[str, str]]:
    yield "server", f"{destination}, asked for {destination.server_name}"
    yield "addresses", ", ".join(dict.fromkeys(look.address for look in (chosen, *looks)))
    for visit in chosen.visits:
        if visit.facts is None:
            words = "it wants a client certificate" if visit.is_asked else "no"
            yield str(visit.version), f"{words}: {visit.failure}"
            continue
        parts = [visit.facts.cipher, visit.facts.group or "", f"ALPN {visit.facts.alpn or 'none'}"]
        yield str(visit.version), ", ".join(part for part in parts if part)
    good = [visit for visit in chosen.visits if visit.is_answered]
    if good:
        yield "client certificate", "asked for" if any(visit.is_asked for visit in good) else "not asked for"
        yield "OCSP staple", "yes" if any(visit.has_staple for visit in good) else "no"
        yield "certificates", f"{len(good[0].chain)} sent"
    if len({visit.chain[:1] for visit in good}) > 1:
        yield "note", "another certificate is shown by TLS 1.2; this is about the one by TLS 1.3"
