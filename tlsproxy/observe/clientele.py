"""The clientele: which of our names clients ask for, and for which of them browsers want trusted https only.

Pure. Promises: counting a name that is known costs one look-up and one addition; whatever clients ask for,
what is kept is bounded, and a flood of invented names (below a wildcard) drives out none that is asked for
more than once. Names of our own are kept, and how often each was asked for: nothing of who asked. Refuses to
know which names are ours (the selector does), and what follows from it (forecast.py).

HSTS (RFC 6797): a browser that got this field over a connection that it trusted offers no way past a warning
about that name, until `max-age` has gone by. How long that is isn't kept: it is a year, as a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tlsproxy import policy_forecast as policy

__all__ = ["Clientele"]

_MAX_AGE: Final = re.compile(rb'(?:^|;)[ \t]*max-age[ \t]*=[ \t]*"?([0-9]{1,12})', re.IGNORECASE)
_BELOW: Final = re.compile(rb"(?:^|;)[ \t]*includesubdomains[ \t]*(?:;|$)", re.IGNORECASE)
_HOST: Final = re.compile(rb"([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)\.?(?::[0-9]*)?")
_LONGEST: Final = 253  # characters of a host name (RFC 1035 section 2.3.4)
_ADDRESS_END: Final = re.compile(rb"(?:.*\.)?[0-9]+")  # its last label is a number: no host name has that


class Clientele:
    """Counts by name, and hosts with HSTS, each with whether what lies below it has it too; both bounded."""

    __slots__ = ("_asked", "_strict")

    def __init__(
        self, asked: Iterable[tuple[str, float]] = (), strict: Iterable[tuple[str, bool]] = ()
    ) -> None:
        self._asked: dict[str, float] = {}
        self._strict: dict[str, bool] = {}
        self.add(asked, strict)

    @property
    def asked(self) -> Mapping[str, float]:
        """How often each name was asked for."""
        return self._asked

    @property
    def strict(self) -> Mapping[str, bool]:
        """Hosts whose responses said HSTS last, and whether that includes all names below them."""
        return self._strict

    def hear(self, name: str) -> None:
        """Count a server name of ours, as `ClientHello.server_name` has it."""
        count = self._asked.get(name)
        if count is not None:
            self._asked[name] = count + 1
        else:
            self._admit(name, 1)

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

    def add(self, asked: Iterable[tuple[str, float]], strict: Iterable[tuple[str, bool]]) -> None:
        """Add what another one has counted."""
        for name, count in asked:
            if name in self._asked:
                self._asked[name] += count
            else:
                self._admit(name, count)
        for name, below in strict:
            if name in self._strict or len(self._strict) < policy.STRICT_NAMES:
                self._strict[name] = below or self._strict.get(name, False)

    def copy(self) -> Clientele:
        """Give one that goes on by itself."""
        return Clientele(self._asked.items(), self._strict.items())

    def is_strict(self, name: str) -> bool:
        """Say whether browsers that have been here take this name over trusted https only."""
        if name in self._strict:
            return True
        labels = name.split(".")
        return any(self._strict.get(".".join(labels[n:])) for n in range(1, len(labels)))

    def _admit(self, name: str, count: float) -> None:
        """Begin to count a name, in the place of the one that was asked for least where there is no room."""
        if len(self._asked) >= policy.NAMES_COUNTED:
            least = min(self._asked, key=self._asked.__getitem__)
            if self._asked[least] > count:
                return
            del self._asked[least]
        self._asked[name] = count
