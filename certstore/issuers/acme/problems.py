"""Problems: what an authority refuses, and why (RFC 7807, RFC 8555 section 6.7), as errors of ours.

Pure. Promises: whatever an authority says, one of our codes comes out, with its words as far as they are fit
to be shown: no token or key authorization stands in them. Refuses to know what is done about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from certstore import records
from certstore.findings import found
from certstore.issuers.acme.errors import AcmeError

__all__ = ["Asked", "Problem", "error_of"]

_URN: Final = "urn:ietf:params:acme:error:"
_MOST: Final = 100
# a token (RFC 8555 section 8.1: 128 bits at least) with a thumbprint, or 256 bits alone, as may be quoted
_SECRET: Final = re.compile(r"[\w-]{22,}\.[\w-]{43}|(?<![\w-])[\w-]{43}(?![\w-])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """What an authority says went wrong; `kind` is its type without the ACME prefix, and may be unknown."""

    kind: str
    detail: str
    status: int = 0
    name: str = ""
    """The identifier that a subproblem is about (section 6.7.1)."""
    instance: str = ""
    """Where a person can do something about it (section 7.3.3)."""
    parts: tuple[Problem, ...] = ()

    @classmethod
    def read(cls, content: bytes, status: int) -> Problem:
        """Read it; what can't be read is a problem all the same. Never raises."""
        try:
            found = cls.from_json(records.load(content))
        except ValueError:
            return cls("", f"it answers {status}", status)
        return cls(found.kind, found.detail, status, found.name, found.instance, found.parts)

    @classmethod
    def from_json(cls, data: Mapping[str, object], *, depth: int = 0) -> Problem:
        """Take what is fit for it; the rest is left out. Never raises."""
        parts = data.get("subproblems")
        identifier = data.get("identifier")
        inner = [one for one in parts if isinstance(one, dict)][:_MOST] if isinstance(parts, list) else []
        return cls(
            kind=_text(data, "type").removeprefix(_URN),
            detail=_text(data, "detail") or _text(data, "title"),
            status=status if isinstance(status := data.get("status"), int) else 0,
            name=_text(identifier, "value") if isinstance(identifier, dict) else "",
            instance=_text(data, "instance"),
            parts=tuple(cls.from_json(one, depth=depth + 1) for one in inner) if depth < 2 else (),
        )

    @property
    def words(self) -> str:
        """Its detail and those of its parts, in one line, without secrets."""
        told = [self.detail or self.kind or f"it answers {self.status}"]
        told += [f"{one.name}: {one.detail or one.kind}" for one in self.parts[:3]]
        return " ".join(_SECRET.sub("...", "; ".join(told)).split())


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as far as an error speaks of it."""

    host: str
    names: Sequence[str] = ()
    profile: str = ""
    profiles: Sequence[str] = ()
    terms: str = ""


def error_of(problem: Problem, asked: Asked, retry_at: datetime | None = None) -> AcmeError:
    """Say it in our words. What only time mends isn't lasting."""
    code, is_lasting = _code(problem)
    names = ", ".join(one.name for one in problem.parts if one.name) or ", ".join(asked.names) or "this"
    facts: dict[str, object] = {"host": asked.host, "why": problem.words, "names": names}
    facts |= {"profile": asked.profile, "profiles": ", ".join(asked.profiles) or "none"}
    facts |= {"terms": problem.instance or asked.terms or "see the authority's pages"}
    told = {"kind": problem.kind, "why": problem.words}
    return AcmeError(found(code, **facts), retry_at=retry_at, is_lasting=is_lasting, **told)


_LASTING: Final[Mapping[str, str]] = {
    "accountDoesNotExist": "acme_account_unknown",
    "externalAccountRequired": "acme_binding_needed",
    "userActionRequired": "acme_terms_unagreed",
    "agreementRequired": "acme_terms_unagreed",
    "invalidContact": "acme_contact_refused",
    "unsupportedContact": "acme_contact_refused",
    "rejectedIdentifier": "acme_names_refused",
    "unsupportedIdentifier": "acme_names_refused",
    "caa": "acme_caa_forbids",
    "invalidProfile": "acme_profile_unknown",
    "badCSR": "acme_key_refused",
    "badPublicKey": "acme_key_refused",
    "badSignatureAlgorithm": "acme_key_refused",
}
_PASSING: Final[Mapping[str, str]] = {
    "rateLimited": "acme_rate_limited",
    "serverInternal": "acme_server_failed",
    "badNonce": "acme_server_failed",
}


def _code(problem: Problem) -> tuple[str, bool]:
    kind = problem.kind
    if kind == "compound" and problem.parts:
        kind = problem.parts[0].kind
    if kind in _PASSING:
        return _PASSING[kind], False
    if kind in _LASTING:
        return _LASTING[kind], True
    if problem.status == 429:
        return "acme_rate_limited", False
    if problem.status >= 500 or problem.status == 408:
        return "acme_server_failed", False
    return "acme_refused", True


def _text(data: Mapping[str, object], key: str, check: Callable[[str], bool] = str.isprintable) -> str:
    value = data.get(key)
    return value[:1000] if isinstance(value, str) and (check(value) or key == "detail") else ""
