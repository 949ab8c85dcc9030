"""The forecast: which of the clients that were here could not use a certificate, said before it is served.

Promises: `forecast` is pure, and warns only of what was counted; the examination that it is added to decides
as it would without. Refuses to know who counts (observe/counters.py), and which names those clients asked
for: so it tells of all that came, and the reader knows whom the certificate is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from certstore import (
    Bundle,
    Candidate,
    Circumstances,
    Content,
    Examination,
    Examiner,
    Finding,
    KnownKey,
    found,
)
from tlsproxy.observe.metrics import Key

__all__ = ["Forecasting", "forecast"]

_USES: Final = {"RSA": {"rsa", "both"}, "EC": {"ec", "both"}}


def forecast(key_type: str, counted: Iterable[tuple[Key, float]]) -> tuple[Finding, ...]:
    """Warn where clients were counted that can't use a certificate with this kind of key."""
    usable = _USES.get(key_type)
    if usable is None:  # the gate tells of keys that browsers don't take
        return ()
    hellos = [(key[2], count) for key, count in counted if key[0] == "tlsproxy_hellos_total"]
    kept_out = sum(count for keys, count in hellos if keys != "neither" and keys not in usable)
    if not kept_out:
        return ()
    of_all = sum(count for _, count in hellos)
    return (found("clients_without_key", count=int(kept_out), all=int(of_all), key=key_type),)


@dataclass(frozen=True, slots=True)
class Forecasting:
    """certstore's Examiner: another one, whose judgement gets the forecast added."""

    examiner: Examiner
    counted: tuple[tuple[Key, float], ...]
    served: str
    """The kind of key that is served to whoever names nothing: who can't use that one loses nothing."""

    @contextmanager
    def examine(self, candidate: Candidate | Bundle, known_key: KnownKey) -> Iterator[Examination]:
        """Begin an examination; see certstore.Examiner."""
        with self.examiner.examine(candidate, known_key) as examination:
            yield _Foreseen(examination, self.counted, self.served)

    def read(self, name: str, content: bytes) -> Content:
        """Decode one file; see certstore.Examiner."""
        return self.examiner.read(name, content)


@dataclass(frozen=True, slots=True)
class _Foreseen:
    """certstore's Examination."""

    examination: Examination
    counted: tuple[tuple[Key, float], ...]
    served: str

    @property
    def bundle(self) -> Bundle:
        return self.examination.bundle

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.examination.findings

    def judge(self, around: Circumstances) -> tuple[Finding, ...]:
        found = self.examination.judge(around)
        kind = self.bundle.key_type
        return found if kind == self.served else (*found, *forecast(kind, self.counted))
