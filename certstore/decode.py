"""Decode: any file a customer has, to certificates and keys.

    a file         an archive of files (unpacking)        what it is not: recognition
    its armour     PEM or DER blocks (armour)
    a block        a certificate, a key (loading), a container of both (pkcs7, pkcs12)
    a lock on it   a pass phrase (protection, derivation)

Promises: whatever the bytes are, `decode` gives findings; nothing else comes out, and nothing takes long
(the limits below, and those of each part). Content and pass phrases never stand in a repr, a finding or an
error.
Refuses to know: where files came from (inbox, upload), what belongs together (assembly.py).

What could go wrong, and why it is done so:
- A damaged file among good ones is an error, not skipped: the customer meant it to count, and a chain that
  silently lacks its second half fails only in some clients. In an archive what is none of ours (a readme) is
  left out and noted: the authority packed it, not the customer.
- How long a pass phrase takes to try is the file's choice: derivation.py says what is spent on it.
- A damaged key is refused before it can sign (loading.py says what that costs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certstore.armour import DER, MOST_BLOCKS, Block, unwrap
from certstore.asn1 import BITS, INTEGER, OCTETS, OID, SEQUENCE, first, only
from certstore.bundle import PrivateKey, spki_of
from certstore.derivation import Purse, TooCostlyError
from certstore.findings import Finding, found
from certstore.loading import load_certificate, load_key
from certstore.pkcs7 import read_pkcs7
from certstore.pkcs12 import is_whole, open_key, read_pkcs12
from certstore.protection import Form, NotOpenedError, UnknownProtectionError, decrypt_pem, forms_of
from certstore.recognition import Foreign, foreign_block, foreign_file
from certstore.unpacking import ArchiveError, Room, is_archive, unpack

__all__ = ["LARGEST_FILE", "LONGEST_PASSPHRASE", "Candidate", "Decoded", "decode", "locked"]

LARGEST_FILE: Final = 1 << 20  # bytes; a chain of four RSA-4096 certificates has 8 KiB
LONGEST_PASSPHRASE: Final = 1024  # bytes; what derives keys from them takes any, and hashes long ones first
MOST_PASSPHRASES: Final = 4  # a candidate may have two protected files; each is tried on each
MOST_CERTIFICATES: Final = 100  # system trust stores have 140 and more: they are no chain
MOST_KEYS: Final = 10  # each RSA key costs a proof, and each that turns out damaged has cost one

_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_KEY_LABELS = frozenset(f"{kind}PRIVATE KEY" for kind in ("", "RSA ", "EC ", "DSA ", "ENCRYPTED "))
_REQUEST_LABELS = frozenset({"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"})
_PKCS7_LABELS = frozenset({"PKCS7", "PKCS #7 SIGNED DATA", "CMS"})
_PKCS7_SHAPE = (OID, 0xA0)
_PROTECTED_SHAPE = (SEQUENCE, OCTETS)
_CRL = Foreign("content_ignored", "a revocation list (CRL)")
_PUBLIC_KEY = Foreign("content_ignored", "a public key")


@dataclass(frozen=True, slots=True)
class Candidate:
    """The files that somebody wants served: (name, content) each, and what may open them.

    The repr shows the files' names only.
    """

    files: tuple[tuple[str, bytes], ...]
    passphrases: tuple[bytes, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return f"Candidate({', '.join(name for name, _ in self.files)})"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What files hold, each thing once, in the order of its first coming."""

    certificates: tuple[x509.Certificate, ...]
    keys: tuple[PrivateKey, ...] = field(repr=False)
    findings: tuple[Finding, ...]


def decode(files: Iterable[tuple[str, bytes]], passphrases: Sequence[bytes] = ()) -> Decoded:
    """Read files of (name, content) in any known form; what is wrong with them stands in the findings.

    `passphrases` are tried on what is protected; no pass phrase, and an empty one, are tried anyway.
    """
    reading = _Reading(passphrases)
    for name, content in files:
        reading.file(name, content)
    return Decoded(
        tuple(reading.certificates.values()), tuple(reading.keys.values()), tuple(reading.findings)
    )


def locked(candidate: Candidate) -> tuple[Finding, ...]:
    """Give what is missing a pass phrase, or has a wrong one: for who may ask a person for it."""
    findings = decode(candidate.files, candidate.passphrases).findings
    return tuple(one for one in findings if one.code in {"passphrase_needed", "passphrase_wrong"})


class _Reading:
    """Files on their way to certificates and keys."""

    def __init__(self, passphrases: Sequence[bytes]) -> None:
        self.certificates: dict[bytes, x509.Certificate] = {}  # by DER: the same one twice is one
        self.keys: dict[str, PrivateKey] = {}  # by SPKI
        self.tried: set[bytes] = set()  # keys by DER, damaged ones as well
        self.opened: set[bytes] = set()  # what is protected: to try it twice would cost twice
        self.findings: list[Finding] = []
        self.is_given = bool(passphrases)
        self.forms = forms_of([one[:LONGEST_PASSPHRASE] for one in passphrases[:MOST_PASSPHRASES]])
        self.purse, self.room = Purse(), Room()

    def say(self, code: str, **facts: object) -> None:
        finding = found(code, **facts)
        if finding not in self.findings:  # a file of a hundred damaged certificates is told once
            self.findings.append(finding)

    def file(self, name: str, content: bytes, *, is_member: bool = False) -> None:
        if len(content) > LARGEST_FILE:
            self.say("file_too_large", file=name, limit=LARGEST_FILE)
        elif not content.strip():
            self.say("member_ignored" if is_member else "file_empty", file=name)
        elif (foreign := foreign_file(content)) is not None:
            self.foreign(name, foreign)
        elif is_archive(content):
            if is_member:
                self.say("archive_nested", file=name)
            else:
                self.archive(name, content)
        else:
            self.plain(name, content, is_member=is_member)

    def archive(self, name: str, content: bytes) -> None:
        try:
            for member in unpack(content, self.room):
                title = f"{member.name} in {name}" if member.name else name
                self.file(title, member.content, is_member=True)
        except ArchiveError as error:
            self.say(error.code, file=name, **error.facts)

    def plain(self, name: str, content: bytes, *, is_member: bool) -> None:
        unwrapped = unwrap(content)
        if unwrapped.truncated:
            self.say("file_truncated", file=name)
        elif len(unwrapped.blocks) > MOST_BLOCKS:
            self.say("too_many_blocks", file=name, limit=MOST_BLOCKS)
            return
        elif not unwrapped.blocks:
            self.say("member_ignored" if is_member else "unparsable", file=name)
        for block in unwrapped.blocks:
            self.block(name, block)

    def block(self, name: str, block: Block) -> None:
        """Read one block. Labels that nobody knows (parameters) are not ours."""
        label, content = block.label, block.content or b""
        if label == DER:
            self.unlabelled(name, content)
        elif label in _PKCS7_LABELS or (label in _CERTIFICATE_LABELS and _shape(content) == _PKCS7_SHAPE):
            self.pkcs7(name, content)  # Netscape and some after it wrote CERTIFICATE on both
        elif label in _CERTIFICATE_LABELS:
            self.certificate(name, content)
        elif label == "TRUSTED CERTIFICATE":
            self.trusted(name, content)
        elif label in _KEY_LABELS:
            self.key_block(name, block, content)
        elif label == "PKCS12":
            self.pkcs12(name, content)
        elif label in _REQUEST_LABELS:
            self.say("request_ignored", file=name)
        elif (foreign := foreign_block(label)) is not None:
            self.foreign(name, foreign)

    def key_block(self, name: str, block: Block, content: bytes) -> None:
        if block.encrypted:
            self.protected(name, content, lambda form: decrypt_pem(block.cipher, content, form, self.purse))
        elif block.label == "ENCRYPTED PRIVATE KEY" or _shape(content) == _PROTECTED_SHAPE:
            self.protected_pkcs8(name, content)
        else:
            self.key(name, content)

    def unlabelled(self, name: str, der: bytes) -> None:
        """Find out what a DER element is: by its shape where that tells, else by trying."""
        shape = _shape(der)
        if shape == _PKCS7_SHAPE:
            self.pkcs7(name, der)
        elif shape[:2] == (INTEGER, SEQUENCE) and _is_version_3(der):  # a key's version is 0 or 1
            self.pkcs12(name, der)
        elif shape[:1] == (INTEGER,):
            self.key(name, der)
        elif shape == _PROTECTED_SHAPE:
            self.protected_pkcs8(name, der)
        elif shape == (SEQUENCE, BITS):
            self.foreign(name, _PUBLIC_KEY)
        elif _is_readable(x509.load_der_x509_csr, der):
            self.say("request_ignored", file=name)
        elif _is_readable(x509.load_der_x509_crl, der):
            self.foreign(name, _CRL)
        else:
            self.certificate(name, der)

    def foreign(self, name: str, foreign: Foreign) -> None:
        match foreign.code:
            case "container_unsupported":
                self.say(foreign.code, file=name, kind=foreign.kind, command=foreign.advice)
            case "content_foreign":
                self.say(foreign.code, file=name, kind=foreign.kind, advice=foreign.advice)
            case _:
                self.say(foreign.code, file=name, kind=foreign.kind)

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

    def trusted(self, name: str, content: bytes) -> None:
        """Read OpenSSL's own form: a certificate, and behind it what somebody trusts it for."""
        try:
            self.certificate(name, first(content)[0].whole)
        except ValueError as error:
            self.say("certificate_unparsable", file=name, why=error)

    def pkcs7(self, name: str, content: bytes) -> None:
        with self.opening(name, "PKCS #7"):
            for der in read_pkcs7(content):
                self.certificate(name, der)

    def pkcs12(self, name: str, content: bytes) -> None:
        if self.was_opened(content):
            return
        with self.opening(name, "PKCS #12"):
            held = read_pkcs12(content, self.forms, self.purse)
            for der in held.certificates:
                self.certificate(name, der)
            for der in held.keys:
                self.key(name, der)

    def protected_pkcs8(self, name: str, content: bytes) -> None:
        self.protected(name, content, lambda form: open_key(only(content), form, self.purse))

    def protected(self, name: str, content: bytes, open_by: Callable[[Form], bytes]) -> None:
        if self.was_opened(content):
            return
        with self.opening(name, "encrypted key"):
            self.key(name, _first_opened(self.forms, open_by))

    def was_opened(self, content: bytes) -> bool:
        """Say whether this very thing has been tried, and remember it."""
        is_known = content in self.opened
        self.opened.add(content)
        return is_known

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
        except UnsupportedAlgorithm as error:
            self.say("key_type_unsupported", key=f"in {name}: {error}")
        except ValueError as error:
            self.say("key_unparsable", file=name, why=error)

    @contextmanager
    def opening(self, name: str, kind: str) -> Iterator[None]:
        """Say what keeps a container or a protected key from being read."""
        try:
            yield
        except NotOpenedError:
            self.say("passphrase_wrong" if self.is_given else "passphrase_needed", file=name)
        except TooCostlyError as error:
            self.say("passphrase_too_costly", file=name, rounds=error.rounds, limit=error.limit)
        except UnknownProtectionError as error:
            self.say("protection_unknown", file=name, method=error.method)
        except ValueError as error:
            self.say("container_damaged", file=name, kind=kind, why=error)


def _first_opened(forms: Sequence[Form], open_by: Callable[[Form], bytes]) -> bytes:
    for form in forms:
        try:
            plain = open_by(form)
        except NotOpenedError:
            continue
        if is_whole(plain):
            return plain
    raise NotOpenedError


def _shape(der: bytes) -> tuple[int, ...]:
    """Give the tags of what an element is made of, four at most; nothing where it is malformed."""
    try:
        fields = iter(only(der).fields())
        return tuple(one.tag for one, _ in zip(fields, range(4), strict=False))
    except ValueError:
        return ()


def _is_version_3(der: bytes) -> bool:
    return only(der).fields().take(INTEGER).content == b"\x03"


def _is_readable(load: Callable[[bytes], object], der: bytes) -> bool:
    try:
        load(der)
    except (ValueError, x509.InvalidVersion):
        return False
    return True
