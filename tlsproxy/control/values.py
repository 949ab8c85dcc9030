"""What goes over the control socket, as values: candidates, problems, limits.

Pure: bytes and JSON-ready dicts in, values out, and back. A fault of the asking side is a `BadRequestError`
with the code that its problem document carries.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec

from certstore import LONGEST_PASSPHRASE, Candidate, Finding
from tlsproxy.control.multipart import parse_form
from tlsproxy.errors import Fault, ProxyError
from tlsproxy.scopes import USUAL, Word

# A candidate is some KB; decode takes at most 1 MiB a file. base64 and JSON add a third.
MAX_BODY_BYTES = 2_097_152
_MAX_FILES = 32
_Document = TypeVar("_Document", bound=msgspec.Struct)
# Python's $ matches before a line's end, too, and JSON Schema's doesn't: hence what stands behind it.
Via: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$(?!\n)")]

# Written, never read: no answer, log, receipt or audit line has it.
Passphrase: TypeAlias = Annotated[
    str,
    msgspec.Meta(max_length=LONGEST_PASSPHRASE, extra_json_schema={"format": "password", "writeOnly": True}),
]

_BASE64 = r"^[A-Za-z0-9+/]*={0,2}$"  # linear, and quick: it runs over megabytes in the event loop

PROBLEM_TYPE = "application/problem+json"
JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"


class BadRequestError(ProxyError):
    """What was asked can't be understood, or not be done; `status` is its HTTP status."""

    fault = Fault.CLIENT

    def __init__(self, status: int, code: str, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, code, words)
        self.status = status
        self.code = code
        self.words = words
        self.headers = headers

    def __str__(self) -> str:
        return self.words


class FileDocument(msgspec.Struct, forbid_unknown_fields=True, rename={"content": "content_base64"}):
    """A file: its name, as a person knows it, and its bytes in base64 (RFC 4648 section 4)."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    content: Annotated[str, msgspec.Meta(pattern=_BASE64, extra_json_schema={"contentEncoding": "base64"})]


class UploadDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A candidate; `via` says by which way it comes, for its receipt; `passphrase` opens protected files."""

    files: Annotated[list[FileDocument], msgspec.Meta(min_length=1, max_length=_MAX_FILES)]
    via: Via = "api"
    passphrase: Passphrase | None = None

    def __repr__(self) -> str:
        return f"UploadDocument({len(self.files)} files)"


class ResetDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A factory reset: `confirm` is the word "reset", so that nobody resets by mistake."""

    confirm: Literal["reset"]
    scopes: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)] = USUAL
    via: Via = "api"


class FormDocument(msgspec.Struct, forbid_unknown_fields=True):
    """The same as a form: every part with a file name is a file, `via` and `passphrase` are text."""

    file: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"format": "binary"})]],
        msgspec.Meta(min_length=1, max_length=_MAX_FILES),
    ]
    via: Via = "api"
    passphrase: Passphrase | None = None


def candidate_to_json(candidate: Candidate, via: str) -> dict[str, object]:
    """Give the body of POST /v1/candidates; its one pass phrase is UTF-8, as the command line reads it."""
    files = [
        {"name": name, "content_base64": base64.b64encode(content).decode("ascii")}
        for name, content in candidate.files
    ]
    body: dict[str, object] = {"files": files, "via": via}
    if candidate.passphrases:
        body["passphrase"] = candidate.passphrases[0].decode("utf-8")
    return body


def candidate_from_json(body: bytes) -> tuple[Candidate, str]:
    """Read the JSON body of POST /v1/candidates: the candidate and its `via`.

    Raises:
        BadRequestError: it is no JSON (400), or not what `candidate_to_json` gives (422).

    """
    upload = decoded(body, UploadDocument)
    try:
        files = tuple((f.name, base64.b64decode(f.content, validate=True)) for f in upload.files)
    except binascii.Error as error:
        raise BadRequestError(422, "invalid_body", f"the body doesn't fit: {_lower(error)}") from error
    return Candidate(files, _passphrases(upload.passphrase)), upload.via


def decoded(body: bytes, kind: type[_Document]) -> _Document:
    """Read a JSON body. Raises BadRequestError: it is no JSON (400), or doesn't fit (422)."""
    try:
        document = msgspec.json.decode(body, type=kind)
        json.loads(body, object_pairs_hook=_refuse_twice)
    except (msgspec.ValidationError, _TwiceError) as error:
        raise BadRequestError(422, "invalid_body", f"the body doesn't fit: {_lower(error)}") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequestError(400, "bad_request", f"the body can't be read: {_lower(error)}") from error
    return document


class _TwiceError(ValueError):
    """A member of an object is given twice: which one counts is anybody's guess (RFC 8259 section 4)."""


def _refuse_twice(members: list[tuple[str, object]]) -> None:
    if len(dict(members)) < len(members):
        raise _TwiceError("a member of an object is given twice")


def candidate_from_form(body: bytes, content_type: str) -> tuple[Candidate, str]:
    """Read the form of POST /v1/candidates. Raises BadRequestError as `candidate_from_json`."""
    try:
        parts = parse_form(body, content_type)
    except ValueError as error:
        raise BadRequestError(400, "bad_request", f"the form can't be read: {error}") from error
    files = [(part.file_name or part.name, part.content) for part in parts if part.file_name is not None]
    given = [part for part in parts if part.file_name is None]
    texts = {part.name: part.content for part in given}
    try:
        if len(texts) < len(given):
            raise ValueError("a part that is no file is given twice")  # noqa: TRY301  all end below
        if unknown := texts.keys() - {"via", "passphrase"}:
            raise ValueError(f"the part {min(unknown)!r} is no file, and not known")  # noqa: TRY301  all end below
        if not 1 <= len(files) <= _MAX_FILES:
            raise ValueError(f"it holds {len(files)} files: 1 to {_MAX_FILES} are taken")  # noqa: TRY301
        via = msgspec.convert(texts.get("via", b"api").decode("ascii"), Via)
        passphrase = _spoken(texts.get("passphrase"))
    except (ValueError, msgspec.ValidationError) as error:
        raise BadRequestError(422, "invalid_body", f"the form doesn't fit: {_lower(error)}") from error
    return Candidate(tuple(files), _passphrases(passphrase)), via


def _spoken(raw: bytes | None) -> str | None:
    """Read a pass phrase; the error doesn't quote it. Raises ValueError."""
    try:
        return None if raw is None else msgspec.convert(raw.decode("utf-8"), Passphrase)
    except UnicodeDecodeError:
        raise ValueError("the passphrase is not UTF-8") from None


def _passphrases(passphrase: str | None) -> tuple[bytes, ...]:
    """Give what a candidate gets; an empty one is none, and tried anyway."""
    return (passphrase.encode("utf-8"),) if passphrase else ()


def findings_to_json(findings: Iterable[Finding]) -> list[dict[str, object]]:
    """Give findings as receipts hold them."""
    return [{"code": f.code, "severity": str(f.severity), "words": f.words, "hint": f.hint} for f in findings]


def problem_words(document: Mapping[str, object]) -> str:
    """Read a problem document's one line for a person, whatever a server put into it."""
    return str(document.get("detail") or document.get("title") or "no reason given")


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]
