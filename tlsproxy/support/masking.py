"""What may be secret, taken out of what is given to strangers: texts of ours, and a configuration.

Pure. Promises: a private key in PEM, the value of a field whose name sounds secret, credentials and queries
in URLs, and tokens of HTTP's authentication are withheld. Refuses to know where a text came from.

Theory. Nothing that we write holds a secret in the first place: the log, receipts and status are searched for
secrets by tests of their own. This is the second fence, for what others wrote: a configuration, of which the
values of keys that we don't know are withheld too (a password for another program, a name misspelt), and its
comments altogether.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["WITHHELD", "masked_configuration", "masked_document", "masked_text"]

WITHHELD = "<withheld>"

_WORDS = "|".join(
    (
        *("pass(?:word|phrase|wd)?", "pwd", "secret", "token", "credential", "cookie", "authorization"),
        *("api[_-]?key", "private[_-]?key", "hmac"),
    )
)
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
# In a configuration also a name that says `key` or `auth`; elsewhere those are ours (a mistake has a key).
_SECRET_SETTING = re.compile(rf"{_WORDS}|(?:^|_)key$|^auth$|^url$|webhook", re.IGNORECASE)

# All repetitions are bounded: a text of a stranger's must not take time that grows with its square.
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
# scheme://user:password@host
_USERINFO = re.compile(r"(?<=://)[^\s/@\"'<>]{1,512}@")
_QUERY = re.compile(r"(://[^\s?\"'<>]{0,512}\?)[^\s\"'<>]+")
# RFC 9110 section 11.4: a scheme, then what proves it
_SCHEME = re.compile(r"\b(bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# name = value, name: value, "name": "value", as people and programs write them
_FIELD = re.compile(
    rf"(?P<name>\b[\w-]{{0,40}}(?:{_WORDS})[\w-]{{0,40}}[\"']?\s{{0,8}}[:=]\s{{0,8}})"
    r"(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,}\]]+)",
    re.IGNORECASE,
)
_DEEPEST = 40


def masked_text(text: str) -> str:
    """Give a text without what may be secret in it."""
    text = _PEM.sub("<withheld: a private key>", text)
    text = _USERINFO.sub(f"{WITHHELD}@", text)
    text = _QUERY.sub(rf"\1{WITHHELD}", text)
    text = _SCHEME.sub(rf"\1 {WITHHELD}", text)
    return _FIELD.sub(_without_value, text)


def _without_value(found: re.Match[str]) -> str:
    quote = found["value"][0] if found["value"][0] in "\"'" else ""
    return f"{found['name']}{quote}{WITHHELD}{quote}"


def masked_document(document: object) -> object:
    """Give what JSON can hold without what may be secret in it; all else becomes text."""
    return _Masker(_SECRET_NAME).masked(document, "", "", _DEEPEST)


def masked_configuration(document: Mapping[str, object], unknown: Iterable[str]) -> object:
    """Give a configuration without what may be secret in it; unknown: the keys that we don't know.

    Those are written as `check` writes them: `route[0].upstream`.
    """
    return _Masker(_SECRET_SETTING, frozenset(unknown)).masked(document, "", "", _DEEPEST)


@dataclass(frozen=True, slots=True)
class _Masker:
    """Withholds what stands under a name that sounds secret, or under a path that is strange."""

    secret: re.Pattern[str]
    strange: frozenset[str] = frozenset()

    def masked(self, value: object, name: str, path: str, depth: int) -> object:
        if path in self.strange or self.secret.search(name) or not depth:
            return WITHHELD
        if isinstance(value, Mapping):
            within = f"{path}." if path else ""
            return {
                masked_text(str(key)): self.masked(one, str(key), f"{within}{key}", depth - 1)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.masked(one, "", f"{path}[{at}]", depth - 1) for at, one in enumerate(value)]
        if value is None or isinstance(value, bool | int | float):
            return value
        return masked_text(str(value))
