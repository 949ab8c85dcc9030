"""Assembly: certificates and keys, whoever they belong to, to the one bundle that a candidate means.

Promises: one leaf with its own key and its ordered chain, or a `Refusal` that says what is missing or what
there is too much of. What came along and is not used is noted.
Refuses to know: files (decode.py), whether clients would like the bundle (checks.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certstore.bundle import Bundle, PrivateKey, key_words, spki_of
from certstore.chain import Chain, build_chain, is_authority
from certstore.decode import Candidate, Decoded, decode
from certstore.errors import Refusal
from certstore.extensions import issuer_urls, name_words, subject_words
from certstore.findings import Finding, found

__all__ = ["assemble", "spki_of_certificate"]


def spki_of_certificate(certificate: x509.Certificate) -> str | None:
    """Give the hash of a certificate's public key, as `spki_of`; None where its kind is unknown to us."""
    try:
        return spki_of(certificate.public_key())
    except (UnsupportedAlgorithm, ValueError):
        return None


def assemble(
    candidate: Candidate, known_key: Callable[[str], PrivateKey | None]
) -> tuple[Bundle, tuple[Finding, ...]]:
    """Put a candidate's files together to one bundle; the findings beside it are warnings and notes.

    `known_key` gives a key that is already here, by its SPKI hash: it completes a certificate that came
    alone. Raises Refusal, and nothing else.
    """
    if not candidate.files:
        raise Refusal(found("candidate_empty"))
    decoded = decode(candidate.files, candidate.passphrases)
    if any(finding.is_error for finding in decoded.findings):
        raise Refusal(*decoded.findings)
    pick = _pick(decoded, known_key)
    chain = build_chain(pick.leaf, decoded.certificates)
    bundle = Bundle.make(pick.key, pick.leaf, chain.certificates)
    findings = list(decoded.findings)
    if not chain.has_root:
        findings += _what_lacks(pick.leaf, chain)
    for other in chain.others:
        code = "stranger_dropped" if is_authority(other) else "leaf_unused"
        findings.append(found(code, subject=subject_words(other)))
    given = [spki_of(key.public_key()) for key in decoded.keys]
    if given and bundle.spki not in given:
        findings.append(found("key_kept"))
    elif unused := sum(spki != bundle.spki for spki in given):
        findings.append(found("key_unused", count=unused))
    return bundle, tuple(findings)


def _what_lacks(leaf: x509.Certificate, chain: Chain) -> Iterator[Finding]:
    """Name the issuer that isn't there. Above an intermediate a root is nothing to miss: clients have it."""
    last = chain.certificates[-1] if chain.certificates else leaf
    if chain.is_misled:
        yield found("issuer_mismatch", subject=subject_words(last), issuer=name_words(last.issuer))
    if last is leaf:
        yield found("incomplete_chain", issuer=name_words(leaf.issuer))
        for url in issuer_urls(leaf)[:1]:
            yield found("issuer_known_at", url=url)


@dataclass(frozen=True, slots=True)
class _Pick:
    leaf: x509.Certificate
    key: PrivateKey = field(repr=False)


def _pick(decoded: Decoded, known_key: Callable[[str], PrivateKey | None]) -> _Pick:
    """Choose the leaf, and the key that is its own: one that came with it before one that is here."""
    given = {spki_of(key.public_key()): key for key in decoded.keys}
    leaves = [c for c in decoded.certificates if not is_authority(c)]
    if (
        not leaves
    ):  # an appliance's self-signed CA:TRUE certificate with its key: the checks tell what is wrong
        leaves = [c for c in decoded.certificates if spki_of_certificate(c) in given]
    if not leaves:
        raise Refusal(*decoded.findings, found(_what_is_missing(decoded)))
    for find in (given.get, known_key):
        picks = [_Pick(leaf, key) for leaf in leaves if (key := _key_for(leaf, find)) is not None]
        if len(picks) == 1:
            return picks[0]
        if picks:
            subjects = ", ".join(subject_words(pick.leaf) for pick in picks)
            raise Refusal(*decoded.findings, found("several_leaves", subjects=subjects))
    raise Refusal(*decoded.findings, _no_key(leaves, decoded.keys))


def _key_for(leaf: x509.Certificate, find: Callable[[str], PrivateKey | None]) -> PrivateKey | None:
    spki = spki_of_certificate(leaf)
    return find(spki) if spki else None


def _what_is_missing(decoded: Decoded) -> str:
    if decoded.certificates:
        return "chain_only"
    return "key_without_certificate" if decoded.keys else "nothing_usable"


def _no_key(leaves: Sequence[x509.Certificate], keys: Sequence[PrivateKey]) -> Finding:
    leaf = leaves[0]
    subject = subject_words(leaf)
    try:
        wanted = key_words(leaf.public_key())
    except (UnsupportedAlgorithm, ValueError) as error:
        return found("key_type_unsupported", key=error)
    if not keys:
        return found("certificate_without_key", subject=subject)
    given = ", ".join(key_words(key.public_key()) for key in keys)
    return found("key_mismatch", subject=subject, wanted=wanted, given=given)
