"""An account at an acme-dns server (github.com/joohoi/acme-dns), which holds the proofs of dns-01 alone.

Pure. Promises: the password stands in no repr, and is read from what the server answered when the account was
made (`POST /register`), so that nobody has to take it apart. Refuses to know the wire (tlsproxy's
acmednsrecords.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from certstore import records
from certstore.issuers.acme.messages import https

__all__ = ["VALUES", "AcmeDnsAccount"]

VALUES: Final = 2
"""So many records an account has at a time; the next drives out the oldest."""

_WORD: Final = re.compile(r"[\x21-\x7e]{1,256}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_LONGEST: Final = 254


@dataclass(frozen=True, slots=True)
class AcmeDnsAccount:
    """Who may set the records at `fulldomain`, and where. ValueError for what can't be one.

    url: the server's, https. subdomain: the name by which the server knows the account.
    """

    url: str
    username: str
    password: str = field(repr=False)
    subdomain: str
    fulldomain: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", https(self.url).rstrip("/"))
        if not _WORD.fullmatch(self.username) or not _WORD.fullmatch(self.password):
            raise ValueError("user name and password of an acme-dns account are printable ASCII")
        for name in (self.subdomain, self.fulldomain):
            if len(name) > _LONGEST or not _NAME.fullmatch(name):
                raise ValueError("an acme-dns account has a domain name")
        object.__setattr__(self, "fulldomain", self.fulldomain.lower().rstrip("."))

    @classmethod
    def registered(cls, url: str, answer: str) -> AcmeDnsAccount:
        """Read what the server answered when the account was made; ValueError for anything else."""
        try:
            found = json.loads(answer)
            return cls.from_json({**found, "url": url})
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError("no acme-dns account is in it: give what POST /register answered") from error

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        names = ("url", "username", "password", "subdomain", "fulldomain")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> AcmeDnsAccount:
        """Read what `to_json` made; ValueError for anything else."""
        names = ("url", "username", "password", "subdomain", "fulldomain")
        return cls(*(records.text(data, name) for name in names))
