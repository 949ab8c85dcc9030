"""PKCS #12: certificates and keys out of a .p12 or .pfx file (RFC 7292), old and new, locked or not.

Promises: gives every certificate and every key that is in it, as DER, or raises: NotOpenedError where no pass
phrase opens it, TooCostlyError before the costly work, UnknownProtectionError, ValueError for a damaged one.
What has an integrity code (all but a few) is told apart: if the code fits, the pass phrase is right, and what
is wrong then is the file's fault.
Refuses to know: which key is whose, and whether it may be used.

Our own, because `cryptography` gives one key of several, can't say what is wrong, and takes as long as the
file wants: its rounds may even stand inside of what is encrypted. Read with it are the plain parts only.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from certstore import derivation
from certstore.asn1 import INTEGER, OCTETS, OID, SEQUENCE, Element, only
from certstore.derivation import Purse, Work
from certstore.protection import (
    HASH_OIDS,
    Form,
    NotOpenedError,
    UnknownProtectionError,
    decrypt,
    pbkdf2_from,
)

__all__ = ["Held", "open_key", "read_pkcs12"]

_DATA: Final = "1.2.840.113549.1.7.1"
_ENCRYPTED: Final = "1.2.840.113549.1.7.6"
_BAG: Final = "1.2.840.113549.1.12.10.1."
_X509: Final = "1.2.840.113549.1.9.22.1"
_PBMAC1: Final = "1.2.840.113549.1.5.14"
_CONTEXT_0: Final = 0xA0
_IMPLICIT_0: Final = 0x80
_MOST_BAGS: Final = 256
_DEEPEST_BAG: Final = 3  # bags in bags, which nobody writes


@dataclass(slots=True)
class Held:
    """What a container holds, as DER: certificates, and keys in PKCS #8."""

    certificates: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list, repr=False)


def read_pkcs12(der: bytes, forms: Sequence[Form], purse: Purse) -> Held:
    """Open a file by the first of the pass phrase's forms that does."""
    fields = only(der).fields()
    if fields.take(INTEGER).number() != 3:
        raise ValueError("it is of an unknown version")
    content = _content(fields.take(SEQUENCE))
    code = fields.maybe(SEQUENCE)
    safes = [safe for safe in only(content).fields() if safe.tag == SEQUENCE]
    if code is not None:
        right = _right_form(code, content, forms, purse)
        return _read(safes, right, purse, proved=True)
    for form in forms:
        try:
            return _read(safes, form, purse, proved=False)
        except NotOpenedError:
            continue
    raise NotOpenedError


def open_key(protected: Element, form: Form, purse: Purse) -> bytes:
    """Open an EncryptedPrivateKeyInfo (RFC 5958 section 3); gives a PKCS #8 key."""
    fields = protected.fields()
    algorithm, data = fields.take(SEQUENCE), fields.take(OCTETS).octets()
    plain = decrypt(algorithm, data, form, purse)
    if not is_whole(plain):
        raise NotOpenedError
    return plain


def is_whole(plain: bytes) -> bool:
    """Say whether bytes are one SEQUENCE: a wrong pass phrase makes that once in millions of times."""
    try:
        return only(plain).tag == SEQUENCE
    except ValueError:
        return False


def _content(info: Element) -> bytes:
    """Take a ContentInfo's plain data."""
    fields = info.fields()
    kind = fields.take(OID).oid()
    if kind != _DATA:
        raise UnknownProtectionError(kind)  # signed by a key instead of by a pass phrase, which nobody does
    return fields.take(_CONTEXT_0).fields().take(OCTETS).octets()


def _right_form(code: Element, content: bytes, forms: Sequence[Form], purse: Purse) -> Form:
    """Find the form of the pass phrase by which the integrity code fits (RFC 7292 section 4)."""
    fields = code.fields()
    info, salt = fields.take(SEQUENCE).fields(), fields.take(OCTETS).octets()
    rounds = fields.maybe(INTEGER)
    algorithm, digest = info.take(SEQUENCE).fields(), info.take(OCTETS).octets()
    method = algorithm.take(OID).oid()
    parameters = algorithm.take(SEQUENCE) if method == _PBMAC1 else None
    for form in forms:
        if parameters is not None:
            name, key = _pbmac1(parameters, form, purse)
        else:
            name = HASH_OIDS.get(method, "")
            if not name:
                raise UnknownProtectionError(method)
            size = hmac.new(b"", digestmod=name).digest_size
            work = Work(name, salt, rounds.number() if rounds else 1)
            key = derivation.pkcs12(work, form.wide, 3, size, purse)
        if hmac.compare_digest(hmac.digest(key, content, name), digest):
            return form
    raise NotOpenedError


def _pbmac1(parameters: Element, form: Form, purse: Purse) -> tuple[str, bytes]:
    """Derive a code's key the new way (RFC 9579 section 4): the hash, the key."""
    fields = parameters.fields()
    by, scheme = fields.take(SEQUENCE).fields(), fields.take(SEQUENCE).fields()
    by.take(OID)
    inner = by.take(SEQUENCE)
    known = {"1.2.840.113549.2.9": "sha256", "1.2.840.113549.2.10": "sha384", "1.2.840.113549.2.11": "sha512"}
    method = scheme.take(OID).oid()
    if method not in known:
        raise UnknownProtectionError(method)
    told = inner.fields()
    told.take(OCTETS)
    told.take(INTEGER)
    length = told.take(INTEGER).number()
    if not 16 <= length <= 64:
        raise ValueError("the key of its integrity code has a length that can't be")
    return known[method], pbkdf2_from(inner, form, length, purse)


def _read(safes: Sequence[Element], form: Form, purse: Purse, *, proved: bool) -> Held:
    """Read all safes by one form; where that is `proved` right, what doesn't open is damaged."""
    held, seen = Held(), 0
    waiting = [(safe, 0) for safe in safes]
    try:
        while waiting:
            element, depth = waiting.pop(0)
            bags = _safe(element, form, purse) if depth == 0 else list(element.fields())
            seen += len(bags)
            if seen > _MOST_BAGS or depth > _DEEPEST_BAG:
                raise ValueError(f"it has more than {_MOST_BAGS} entries, or boxes in boxes")
            inner = (_bag(bag, form, purse, held) for bag in bags)
            waiting += [(one, depth + 1) for one in inner if one is not None]
    except NotOpenedError:
        if proved:
            raise ValueError("a part of it can't be decrypted, although its integrity code fits") from None
        raise
    return held


def _safe(info: Element, form: Form, purse: Purse) -> list[Element]:
    """Open one ContentInfo; gives its bags."""
    fields = info.fields()
    kind = fields.take(OID).oid()
    if kind == _DATA:
        plain = fields.take(_CONTEXT_0).fields().take(OCTETS).octets()
    elif kind == _ENCRYPTED:
        box = fields.take(_CONTEXT_0).fields().take(SEQUENCE).fields()
        box.take(INTEGER)
        inner = box.take(SEQUENCE).fields()
        inner.take(OID)
        plain = decrypt(inner.take(SEQUENCE), inner.take(_IMPLICIT_0).octets(), form, purse)
        if not is_whole(plain):
            raise NotOpenedError
    else:
        raise UnknownProtectionError(kind)
    return list(only(plain).fields())


def _bag(bag: Element, form: Form, purse: Purse, held: Held) -> Element | None:
    """Take what a bag holds; where that is bags again, gives these. Lists and secrets are not for us."""
    fields = bag.fields()
    kind, value = fields.take(OID).oid(), fields.take(_CONTEXT_0).fields()
    match kind.removeprefix(_BAG):
        case "1":
            held.keys.append(value.take(SEQUENCE).whole)
        case "2":
            held.keys.append(open_key(value.take(SEQUENCE), form, purse))
        case "3":
            certificate = value.take(SEQUENCE).fields()
            if certificate.take(OID).oid() == _X509:
                held.certificates.append(certificate.take(_CONTEXT_0).fields().take(OCTETS).octets())
        case "6":
            return value.take(SEQUENCE)
    return None
