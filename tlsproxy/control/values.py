"""What goes over the control socket, as values: candidates, problems, limits.

Pure: JSON-ready dicts in, values out, and back. A fault of the asking side is a `BadRequestError` with the
code that its problem document carries.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated

import msgspec

from certstore import Candidate
from tlsproxy.errors import Fault, ProxyError

# A candidate is some KB; decode takes at most 1 MiB a file. base64 and JSON add a third.
MAX_BODY_BYTES = 2_097_152
_MAX_FILES = 32

PROBLEM_TYPE = "application/problem+json"


class BadRequestError(ProxyError):
    """What was asked can't be understood, or not be done; `status` is its HTTP status."""

    fault = Fault.CLIENT

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(status, code, words)
        self.status = status
        self.code = code
        self.words = words

    def __str__(self) -> str:
        return self.words


class _File(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    content_base64: str


class _Upload(msgspec.Struct, forbid_unknown_fields=True):
    files: Annotated[list[_File], msgspec.Meta(min_length=1, max_length=_MAX_FILES)]
    via: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")] = "api"


def candidate_to_json(candidate: Candidate, via: str) -> dict[str, object]:
    """Give the body of POST /v1/candidates."""
    files = [
        {"name": name, "content_base64": base64.b64encode(content).decode("ascii")}
        for name, content in candidate.files
    ]
    return {"files": files, "via": via}


def candidate_from_json(body: bytes) -> tuple[Candidate, str]:
    """Read the body of POST /v1/candidates: the candidate and its `via`.

    Raises:
        BadRequestError: it isn't what `candidate_to_json` gives (400).

    """
    try:
        upload = msgspec.json.decode(body, type=_Upload)
        files = tuple((f.name, base64.b64decode(f.content_base64, validate=True)) for f in upload.files)
    except (msgspec.DecodeError, binascii.Error, RecursionError, UnicodeDecodeError) as error:
        raise BadRequestError(400, "bad_request", f"the body can't be read: {error}") from error
    return Candidate(files), upload.via


def problem(status: int, code: str, title: str, hint: str = "") -> dict[str, object]:
    """Make a problem document; `code` is stable, `title` one line for a person."""
    document: dict[str, object] = {"type": "about:blank", "status": status, "title": title, "code": code}
    return {**document, "hint": hint} if hint else document


def problem_words(document: Mapping[str, object]) -> str:
    """Read a problem document's one line for a person, whatever a server put into it."""
    return str(document.get("title") or document.get("detail") or "no reason given")
