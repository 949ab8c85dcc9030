"""What a factory reset takes away, as values: scopes, the wish, and the record that outlives a crash.

Pure. Refuses to know how a reset is made (resetting.py) and how anything is erased (erasing.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from certstore import records
from certstore.bundle import Bundle
from certstore.slots import Slot, Source

__all__ = ["Erasure", "Reset", "Scope", "left_by"]


class Scope(StrEnum):
    """What is meant: what came with the customer, or who the device is. The factory's is never meant."""

    CUSTOMER = "customer"
    IDENTITY = "identity"


_SOURCES = {
    Scope.CUSTOMER: frozenset({Source.CUSTOMER, Source.ACME}),
    Scope.IDENTITY: frozenset({Source.GENERATED}),
}


@dataclass(frozen=True, slots=True)
class Reset:
    """What somebody wants: these scopes; `own` is the device's new certificate, which IDENTITY must have.

    beside: absolute paths of what is not the store's and goes too (the inbox): files are removed, folders
    emptied.
    """

    scopes: frozenset[Scope]
    own: Bundle | None = None
    beside: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Look at what can't be meant."""
        if not (self.scopes or self.beside) or (Scope.IDENTITY in self.scopes) != (self.own is not None):
            raise ValueError(
                "a reset erases something, and with IDENTITY, and only then, brings a new bundle"
            )


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to be erased once the generation that a reset made is active; `receipt` is the reset's."""

    receipt: str
    generation: int
    scopes: frozenset[Scope]
    beside: tuple[Path, ...]

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        return {
            "receipt": self.receipt,
            "generation": self.generation,
            "scopes": sorted(self.scopes),
            "beside": [str(path) for path in self.beside],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Erasure:
        """Read what `to_json` made; ValueError for anything else."""
        beside = tuple(Path(path) for path in records.texts(data, "beside"))
        if not all(path.is_absolute() for path in beside):
            raise ValueError("a path is not absolute")
        scopes = frozenset(Scope(scope) for scope in records.texts(data, "scopes"))
        number = records.number(data, "generation")
        return cls(records.text(data, "receipt"), number, scopes, beside)


def left_by(scopes: Iterable[Scope], slots: Iterable[Slot]) -> tuple[Slot, ...]:
    """Give the slots that stay: those of other sources, and whatever is sealed."""
    gone = frozenset[Source]().union(*(_SOURCES[scope] for scope in scopes))
    return tuple(slot for slot in slots if slot.sealed or slot.source not in gone)
