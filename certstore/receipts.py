"""Receipts: what became of a candidate, or of another change that somebody wanted.

Each gets one before anything else is done with it, and it ends in exactly one way. `MOVES` holds
all legal steps; no other place may decide that. A receipt is a value: `advance` gives the next one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import islice
from types import MappingProxyType
from typing import Final

from certstore import records
from certstore.findings import Finding, Severity
from certstore.generation import Cause, Trusted
from certstore.slots import Source

__all__ = ["MOVES", "WITNESSES", "Receipt", "State", "newest_seen", "receipt_id", "sequence_of"]


class State(StrEnum):
    """Where a change stands."""

    RECEIVED = "received"
    REFUSED = "refused"
    LIVE = "live"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"


# superseded: another candidate took the slot before this one was confirmed
MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.RECEIVED: frozenset({State.REFUSED, State.LIVE}),
        State.LIVE: frozenset({State.CONFIRMED, State.ROLLED_BACK, State.SUPERSEDED}),
        State.REFUSED: frozenset(),
        State.CONFIRMED: frozenset(),
        State.ROLLED_BACK: frozenset(),
        State.SUPERSEDED: frozenset(),
    }
)

# How many of the newest receipts say what time it has been. All of them would be wrong for years after a
# clock once stood in 2099; only one would follow a clock that falls back as soon as it has written once.
WITNESSES: Final = 20

_ID = re.compile(r"(\d{6,12})-[0-9a-f]{8}")


def receipt_id(sequence: int, salt: str) -> str:
    """Name the receipt with this number in the order of arrival; `salt` is 8 random hex digits.

    The number, not the clock, tells which of two receipts is newer. The salt keeps two receipts apart that
    got the same number because the first was lost with its disk block.
    """
    return f"{sequence:06d}-{salt}"


def sequence_of(id: str) -> int:  # noqa: A002  it is the receipt's id
    """Read the number back from a receipt's id; ValueError when it is none."""
    match = _ID.fullmatch(id)
    if not match:
        raise ValueError("no receipt id")
    return int(match[1])


@dataclass(frozen=True, slots=True)
class Receipt:
    """One change's fate. `bundle` and `generation` are None as long as (or because) there is none.

    `bundle` is what came, what was gone back to, or what was removed; None where that is several. `beside` is
    the RSA one of a pair of which `bundle` is the EC one. `cause`
    says what was wanted. `confirm_within_s`: the seconds that a live change has for being confirmed; None:
    it needs no confirmation. `trust` is the trust set that a change is about, with the id that it has from
    then on: "" for none, as long as nothing has come of it, and where it is taken away.
    """

    id: str
    state: State
    source: Source
    via: str
    bundle: str | None
    generation: int | None
    findings: tuple[Finding, ...]
    times: Mapping[State, datetime] = field(hash=False)
    cause: Cause = Cause.PROPOSAL
    confirm_within_s: float | None = None
    beside: str | None = None
    trust: Trusted | None = None

    @property
    def live_at(self) -> datetime | None:
        """When it was served everywhere: no ClientHello read after it sees the old bundle."""
        return self.times.get(State.LIVE)

    @property
    def received_at(self) -> datetime | None:
        """When it came."""
        return self.times.get(State.RECEIVED)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all findings, in their order."""
        return tuple(finding.code for finding in self.findings)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more can become of it."""
        return not MOVES[self.state]

    def advance(self, state: State, at: datetime, generation: int | None = None) -> Receipt:
        """Give the receipt that follows when `state` is reached at `at`; ValueError for an illegal step."""
        if state not in MOVES[self.state]:
            raise ValueError(f"a receipt can't go from {self.state} to {state}")
        number = self.generation if generation is None else generation
        return replace(self, state=state, generation=number, times={**self.times, state: at})

    def with_findings(self, findings: tuple[Finding, ...]) -> Receipt:
        """Give this receipt with further findings behind those it has."""
        return replace(self, findings=self.findings + findings)

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads, and what people and programs are shown."""
        return {
            "id": self.id,
            "cause": str(self.cause),
            "state": str(self.state),
            "source": str(self.source),
            "via": self.via,
            "bundle": self.bundle,
            "generation": self.generation,
            "findings": [
                {"code": f.code, "severity": str(f.severity), "words": f.words, "hint": f.hint}
                for f in self.findings
            ],
            "times": {str(state): records.moment_text(at) for state, at in self.times.items()},
            "confirm_within_s": self.confirm_within_s,
            **({"beside": self.beside} if self.beside is not None else {}),
            **({"trust": _trust_json(self.trust)} if self.trust is not None else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Receipt:
        """Read what `to_json` made; ValueError for anything else."""
        id_ = records.text(data, "id")
        sequence_of(id_)
        times = data.get("times")
        if not isinstance(times, dict):
            raise ValueError("times is missing")  # noqa: TRY004  all that is wrong with a file is a ValueError
        return cls(
            id=id_,
            state=State(records.text(data, "state")),
            source=Source(records.text(data, "source")),
            via=records.text(data, "via"),
            bundle=records.optional(records.bundle_id, data, "bundle"),
            generation=records.optional(records.number, data, "generation"),
            findings=tuple(_finding(one) for one in records.items(data, "findings")),
            times={State(state): records.moment(times, state) for state in times},
            cause=Cause(records.text(data, "cause")) if "cause" in data else Cause.PROPOSAL,
            confirm_within_s=_seconds(data),
            beside=records.later(records.bundle_id, data, "beside"),
            trust=records.later(_trust, data, "trust"),
        )


def newest_seen(newest_first: Iterable[Receipt]) -> datetime | None:
    """Give the latest time that one of the newest few receipts holds; None without receipts."""
    return max((at for one in islice(newest_first, WITNESSES) for at in one.times.values()), default=None)


def _seconds(data: Mapping[str, object]) -> float | None:
    within_s = data.get("confirm_within_s")
    if within_s is None:  # a receipt of before there was probation has no such field
        return None
    if not isinstance(within_s, (int, float)) or isinstance(within_s, bool) or not 0 < within_s < math.inf:
        raise ValueError("confirm_within_s is out of range")
    return float(within_s)


def _trust_json(trust: Trusted) -> dict[str, object]:
    return {"name": trust.name, "id": trust.id or None}


def _trust(data: Mapping[str, object], key: str) -> Trusted:
    one = records.item(data, key)
    return Trusted(records.text(one, "name"), records.optional(records.bundle_id, one, "id") or "")


def _finding(data: Mapping[str, object]) -> Finding:
    return Finding(
        code=records.text(data, "code"),
        severity=Severity(records.text(data, "severity")),
        words=records.text(data, "words"),
        hint=records.text(data, "hint"),
    )
