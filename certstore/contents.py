"""Contents: what a file holds, as far as gathering needs to know it.

Decoding a file costs milliseconds (an RSA key is checked), so it is done once for each content and
remembered as long as a snapshot has it. The values here are plain: names as bytes, keys by the hash of
their SPKI. A file is whole or it holds nothing: where decoding finds an error, no part of it is offered for
pairing, because a file that is still being written is such a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import extensions
from certstore.bundle import PrivateKey, PublicKey, key_to_pem, key_words, spki_of
from certstore.chain import is_authority, issuer_among
from certstore.decode import decode
from certstore.findings import Finding, found
from certstore.snapshot import Entry

__all__ = ["Certificate", "Content", "Contents", "Key", "issuer_in", "read_content"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate by its outside. Hashes are lower hex; `subject` and `issuer` are DER.

    `title` and `key_title` name it and its key to people.
    """

    fingerprint: str
    spki: str
    is_authority: bool
    subject: bytes
    issuer: bytes
    starts: datetime
    title: str
    key_title: str
    pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """A private key by the hash of its public half."""

    spki: str
    title: str
    pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Content:
    """What one whole file holds; or, with `errors`, why it holds nothing."""

    certificates: tuple[Certificate, ...] = ()
    keys: tuple[Key, ...] = ()
    errors: tuple[Finding, ...] = ()


_NOTHING = Content()


class Contents:
    """Remembers what the contents of a snapshot's files mean. Not for several threads at once."""

    def __init__(self, read: Callable[[str, bytes], Content]) -> None:
        """Begin with nothing read; `read` says what a file holds (`read_content`, wherever it runs)."""
        self._read = read
        self._known: dict[str, Content] = {}

    def of(self, entry: Entry) -> Content:
        """Say what an entry holds; nothing where it has no content."""
        if entry.content is None:
            return _NOTHING
        content = self._known.get(entry.digest)
        if content is None:
            content = self._known[entry.digest] = self._read(entry.name, entry.content)
        return content

    def forget_all_but(self, entries: Iterable[Entry]) -> None:
        """Drop what no entry holds any more."""
        digests = {entry.digest for entry in entries}
        self._known = {digest: content for digest, content in self._known.items() if digest in digests}


def issuer_in(content: Content, certificate: x509.Certificate) -> x509.Certificate | None:
    """Give the authority that signed `certificate`, where that was read; a signature check for each.

    An examiner that somebody has taken over may say anything: what is no certificate counts as none.
    """
    try:
        given = [x509.load_pem_x509_certificate(one.pem) for one in content.certificates]
    except (ValueError, x509.InvalidVersion):
        return None
    return issuer_among(certificate, given)


def read_content(name: str, data: bytes) -> Content:
    """Decode one file. Never raises for what is in it."""
    decoded = decode(((name, data),))
    errors = tuple(finding for finding in decoded.findings if finding.is_error)
    if errors:
        return Content(errors=errors)
    if not decoded.certificates and not decoded.keys:  # a request, parameters, a revocation list
        return Content(errors=(found("nothing_usable"), *decoded.findings))
    certificates: list[Certificate] = []
    for certificate in decoded.certificates:
        try:
            certificates.append(_certificate(certificate))
        except UnsupportedAlgorithm as error:
            if not is_authority(certificate):
                return Content(errors=(found("key_type_unsupported", key=str(error) or "unknown"),))
        except ValueError as error:
            return Content(errors=(found("certificate_unparsable", file=name, why=error),))
    return Content(tuple(certificates), tuple(_key(key) for key in decoded.keys))


def _certificate(certificate: x509.Certificate) -> Certificate:
    """Take what gathering needs. ValueError or UnsupportedAlgorithm where a part can't be read."""
    public: PublicKey = certificate.public_key()
    return Certificate(
        fingerprint=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        spki=spki_of(public),
        is_authority=is_authority(certificate),
        subject=certificate.subject.public_bytes(),
        issuer=certificate.issuer.public_bytes(),
        starts=certificate.not_valid_before_utc,
        title=extensions.subject_words(certificate),
        key_title=key_words(public),
        pem=certificate.public_bytes(Encoding.PEM),
    )


def _key(key: PrivateKey) -> Key:
    public = key.public_key()
    return Key(spki_of(public), key_words(public), key_to_pem(key))
