"""Decode: any file a customer has, to certificates and keys, and those to a bundle.

Promises: whatever the bytes are, `decode` gives findings and `assemble` raises at most a `Refusal`; nothing
else comes out, and nothing takes long (the limits below). Content never stands in a repr, a finding or an
error.
Refuses to know: where files came from (inbox, upload), whether clients would like the bundle (checks.py).

What could go wrong, and why it is done so:
- A damaged file among good ones is an error, not skipped: the customer meant it to count, and a chain that
  silently lacks its second half fails only in some clients.
- Nothing is decrypted. How long a pass phrase takes to try is the file's choice, not ours.
- A damaged key is refused before it can sign (loading.py says what that costs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certstore.armour import DER, Block, unwrap
from certstore.bundle import Bundle, PrivateKey, key_words, spki_of
from certstore.chain import build_chain, is_authority
from certstore.errors import Refusal
from certstore.extensions import name_words, subject_words
from certstore.findings import Finding, found
from certstore.loading import EncryptedKeyError, load_certificate, load_key

__all__ = ["LARGEST_FILE", "Candidate", "Decoded", "assemble", "decode", "spki_of_certificate"]

LARGEST_FILE: Final = 1 << 20  # bytes; a chain of four RSA-4096 certificates has 8 KiB
MOST_CERTIFICATES: Final = 100  # system trust stores have 140 and more: they are no chain
MOST_KEYS: Final = 10  # each RSA key costs a proof, and each that turns out damaged has cost one

_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_KEY_LABELS = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY"})
_REQUEST_LABELS = frozenset({"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"})
_PKCS7 = ("PKCS #7", "openssl pkcs7 -print_certs -in FILE -out CERTS.pem")
_PKCS12 = ("PKCS #12", "openssl pkcs12 -in FILE -out ALL.pem -nodes")
_CONTAINER_LABELS = {
    "PKCS7": _PKCS7,
    "PKCS #7 SIGNED DATA": _PKCS7,
    "CMS": _PKCS7,
    "PKCS12": _PKCS12,
    "OPENSSH PRIVATE KEY": ("OpenSSH key", "ssh-keygen -p -m PEM -f FILE"),
}
_JAVA = (
    "Java keystore",
    "keytool -importkeystore -srckeystore FILE -destkeystore P12 -deststoretype pkcs12",
)
_JAVA_MAGIC = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")  # the object identifier that begins a PKCS #7 file
_PFX_VERSION = bytes.fromhex("020103")  # the version 3 that begins a PKCS #12 file; a key's is 0 or 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """The files that somebody wants served: (name, content) each. The repr shows names only."""

    files: tuple[tuple[str, bytes], ...]

    def __repr__(self) -> str:
        return f"Candidate({', '.join(name for name, _ in self.files)})"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What files hold, each thing once, in the order of its first coming."""

    certificates: tuple[x509.Certificate, ...]
    keys: tuple[PrivateKey, ...] = field(repr=False)
    findings: tuple[Finding, ...]


def decode(files: Iterable[tuple[str, bytes]]) -> Decoded:
    """Read files of (name, content) in any known form; what is wrong with them stands in the findings."""
    reading = _Reading()
    for name, content in files:
        reading.file(name, content)
    return Decoded(
        tuple(reading.certificates.values()), tuple(reading.keys.values()), tuple(reading.findings)
    )


class _Reading:
    """What has been read so far; one object for one `decode`."""

    def __init__(self) -> None:
        self.certificates: dict[bytes, x509.Certificate] = {}  # by DER: the same one twice is one
        self.keys: dict[str, PrivateKey] = {}  # by SPKI
        self.tried: set[bytes] = set()  # keys by DER, damaged ones as well
        self.findings: list[Finding] = []

    def say(self, code: str, **facts: object) -> None:
        finding = found(code, **facts)
        if finding not in self.findings:  # a file of a hundred damaged certificates is told once
            self.findings.append(finding)

    def file(self, name: str, content: bytes) -> None:
        if len(content) > LARGEST_FILE:
            self.say("file_too_large", file=name, limit=LARGEST_FILE)
        elif not content.strip():
            self.say("file_empty", file=name)
        elif content.startswith(_JAVA_MAGIC):
            self.container(name, _JAVA)
        else:
            unwrapped = unwrap(content)
            if unwrapped.truncated:
                self.say("file_truncated", file=name)
            elif not unwrapped.blocks:
                self.say("unparsable", file=name)
            for block in unwrapped.blocks:
                self.block(name, block)

    def block(self, name: str, block: Block) -> None:
        """Read one block. Labels that aren't named here (parameters, public keys, CRLs) are not ours."""
        label, content = block.label, block.content or b""
        if label == DER:
            self.unlabelled(name, content)
        elif label in _CERTIFICATE_LABELS:
            self.certificate(name, content)
        elif label == "ENCRYPTED PRIVATE KEY" or (label in _KEY_LABELS and block.encrypted):
            self.say("key_encrypted", file=name)
        elif label in _KEY_LABELS:
            self.key(name, content)
        elif label == "TRUSTED CERTIFICATE":
            self.say("trusted_certificate", file=name)
        elif label in _REQUEST_LABELS:
            self.say("request_ignored", file=name)
        elif label in _CONTAINER_LABELS:
            self.container(name, _CONTAINER_LABELS[label])

    def unlabelled(self, name: str, der: bytes) -> None:
        """Find out what a DER element is: by its first bytes where they tell, else by trying."""
        body = der[2 + (der[1] & 0x7F if der[1] > 0x80 else 0) :]
        if body.startswith(_SIGNED_DATA):
            self.container(name, _PKCS7)
        elif body.startswith(_PFX_VERSION):
            self.container(name, _PKCS12)
        elif body.startswith(b"\x02"):  # keys begin with a version number, certificates with a SEQUENCE
            self.key(name, der)
        elif _is_readable(x509.load_der_x509_csr, der):
            self.say("request_ignored", file=name)
        elif _is_encrypted_key(der):
            self.say("key_encrypted", file=name)
        else:
            self.certificate(name, der)

    def container(self, name: str, kind_and_command: tuple[str, str]) -> None:
        kind, command = kind_and_command
        self.say("container_unsupported", file=name, kind=kind, command=command)

    def certificate(self, name: str, der: bytes) -> None:
        if der in self.certificates:
            return
        if len(self.certificates) >= MOST_CERTIFICATES:
            self.say("too_many_certificates", limit=MOST_CERTIFICATES)
            return
        try:
            self.certificates[der] = load_certificate(der)
        except ValueError as error:
            self.say("certificate_unparsable", file=name, why=error)

    def key(self, name: str, der: bytes) -> None:
        if der in self.tried:
            return
        if len(self.tried) >= MOST_KEYS:
            self.say("too_many_keys", limit=MOST_KEYS)
            return
        self.tried.add(der)
        try:
            key = load_key(der)
            self.keys.setdefault(spki_of(key.public_key()), key)
        except EncryptedKeyError:
            self.say("key_encrypted", file=name)
        except UnsupportedAlgorithm as error:
            self.say("key_type_unsupported", key=f"in {name}: {error}")
        except ValueError as error:
            self.say("key_unparsable", file=name, why=error)


def _is_readable(load: Callable[[bytes], object], der: bytes) -> bool:
    try:
        load(der)
    except (ValueError, x509.InvalidVersion):
        return False
    return True


def _is_encrypted_key(der: bytes) -> bool:
    try:
        load_key(der)
    except EncryptedKeyError:
        return True
    except (ValueError, UnsupportedAlgorithm):
        pass
    return False


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
    decoded = decode(candidate.files)
    if any(finding.is_error for finding in decoded.findings):
        raise Refusal(*decoded.findings)
    pick = _pick(decoded, known_key)
    chain = build_chain(pick.leaf, decoded.certificates)
    bundle = Bundle.make(pick.key, pick.leaf, chain.certificates)
    findings = list(decoded.findings)
    if not chain.certificates and not chain.has_root:
        findings.append(found("incomplete_chain", issuer=name_words(pick.leaf.issuer)))
    for other in chain.others:
        code = "stranger_dropped" if is_authority(other) else "leaf_unused"
        findings.append(found(code, subject=subject_words(other)))
    given = [spki_of(key.public_key()) for key in decoded.keys]
    if given and bundle.spki not in given:
        findings.append(found("key_kept"))
    elif unused := sum(spki != bundle.spki for spki in given):
        findings.append(found("key_unused", count=unused))
    return bundle, tuple(findings)


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
