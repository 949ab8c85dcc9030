"""The clientele: which of our names clients ask for, where browsers want trusted https only, who is refused.

Pure. Promises: counting a name that is known costs one look-up and one addition; whatever clients ask for,
what is kept is bounded, and a flood of invented names (below a wildcard) drives out none that is asked for
more than once. Names of our own are kept, and how often each was asked for; of those that are refused why,
and the fingerprint of their software (tls/ja4.py): nothing of who asked. Refuses to know which names are ours
(the selector does), and what follows from it (forecast.py).

HSTS (RFC 6797): a browser that got this field over a connection that it trusted offers no way past a warning
about that name, until `max-age` has gone by. How long that is isn't kept: it is a year, as a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from tlsproxy import policy_forecast as policy
from tlsproxy.observe.ranking import Ranking

__all__ = ["Clientele", "Refused"]

Refused: TypeAlias = tuple[str, str]
"""Why a handshake failed, as in labels.REASONS, and the JA4 fingerprint of its hello."""

_MAX_AGE: Final = re.compile(rb'(?:^|;)[ \t]*max-age[ \t]*=[ \t]*"?([0-9]{1,12})', re.IGNORECASE)
_BELOW: Final = re.compile(rb"(?:^|;)[ \t]*includesubdomains[ \t]*(?:;|$)", re.IGNORECASE)
_HOST: Final = re.compile(rb"([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)\.?(?::[0-9]*)?")
_LONGEST: Final = 253  # characters of a host name (RFC 1035 section 2.3.4)
_ADDRESS_END: Final = re.compile(rb"(?:.*\.)?[0-9]+")  # its last label is a number: no host name has that


class Clientele:
    """Counts by name, hosts with HSTS, each with whether what lies below it has it too, and who was refused.

    All are bounded.
    """

    __slots__ = ("_asked", "_refused", "_strict")

    def __init__(
        self,
        asked: Iterable[tuple[str, float]] = (),
        strict: Iterable[tuple[str, bool]] = (),
        refused: Iterable[tuple[Refused, float]] = (),
    ) -> None:
        self._asked: Ranking[str] = Ranking(policy.NAMES_COUNTED)
        self._refused: Ranking[Refused] = Ranking(policy.REFUSED_COUNTED)
        self._strict: dict[str, bool] = {}
        self.add(asked, strict, refused)

    @property
    def asked(self) -> Mapping[str, float]:
        """How often each name was asked for."""
        return self._asked.counts

    @property
    def refused(self) -> Mapping[Refused, float]:
        """How often clients were refused, by why and by their software."""
        return self._refused.counts

    @property
    def strict(self) -> Mapping[str, bool]:
        """Hosts whose responses said HSTS last, and whether that includes all names below them."""
        return self._strict

    def hear(self, name: str) -> None:
        """Count a server name of ours, as `ClientHello.server_name` has it."""
        self._asked.count(name)

    def refuse(self, reason: str, fingerprint: str) -> None:
        """Count a client whose handshake has failed."""
        self._refused.count((reason, fingerprint))

    def learn(self, host: bytes, value: bytes, is_ours: Callable[[str], bool]) -> None:
        """Take note of a response's Strict-Transport-Security for a request's Host, where that name is ours.

        Nonsense is passed by, and names that strangers invent.
        """
        named, age = _HOST.fullmatch(host), _MAX_AGE.search(value)
        if named is None or age is None or len(named[1]) > _LONGEST or _ADDRESS_END.fullmatch(named[1]):
            return
        name = named[1].decode("ascii").lower()
        if not int(age[1]):  # section 6.1.1: it is over
            self._strict.pop(name, None)
        elif is_ours(name) and (name in self._strict or len(self._strict) < policy.STRICT_NAMES):
            self._strict[name] = _BELOW.search(value) is not None

    def add(
        self,
        asked: Iterable[tuple[str, float]],
        strict: Iterable[tuple[str, bool]],
        refused: Iterable[tuple[Refused, float]] = (),
    ) -> None:
        """Add what another one has counted."""
        self._asked.add(asked)
        self._refused.add(refused)
        for name, below in strict:
            if name in self._strict or len(self._strict) < policy.STRICT_NAMES:
                self._strict[name] = below or self._strict.get(name, False)

    def copy(self) -> Clientele:
        """Give one that goes on by itself."""
        return Clientele(self.asked.items(), self._strict.items(), self.refused.items())

    def is_strict(self, name: str) -> bool:
        """Say whether browsers that have been here take this name over trusted https only."""
        if name in self._strict:
            return True
        labels = name.split(".")
        return any(self._strict.get(".".join(labels[n:])) for n in range(1, len(labels)))
