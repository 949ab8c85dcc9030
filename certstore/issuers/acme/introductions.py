"""What an authority is told when an account is made there, kept until it could be told.

    authority/accounts/terms.json    contacts, whether its terms are agreed to, how the account is bound

Promises: it lies there only while an account is still to be made, whole and for the service's user alone: a
key that binds an account to a customer of the authority's may be in it. It goes with what is wanted. Refuses
to know who tells it, and when.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from certstore import layout, records
from certstore.atomic import Disk
from certstore.issuers.acme.wishes import Binding, mac_key
from certstore.reading import read_file

__all__ = ["Introduction", "Introductions"]


@dataclass(frozen=True, slots=True)
class Introduction:
    """What is told. bindings: for authorities that ask for one, by their directory."""

    contacts: tuple[str, ...]
    is_agreed: bool
    bindings: Mapping[str, Binding] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        return {
            "contacts": list(self.contacts),
            "is_agreed": self.is_agreed,
            "bindings": {
                directory: {
                    "kid": one.kid,
                    "mac_key": base64.urlsafe_b64encode(one.mac_key).decode("ascii"),
                }
                for directory, one in self.bindings.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Introduction:
        """Read what `to_json` made; ValueError for anything else."""
        found = records.item(data, "bindings")
        bound = {directory: records.item(found, directory) for directory in found}
        bindings = {
            directory: Binding(records.text(one, "kid"), mac_key(records.text(one, "mac_key")))
            for directory, one in bound.items()
        }
        return cls(records.texts(data, "contacts"), records.flag(data, "is_agreed"), bindings)


class Introductions:
    """The file. What changes it raises StoreError."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder, whose lock the caller holds."""
        self._path, self._disk = root / layout.TERMS, disk

    def load(self) -> Introduction | None:
        """Give what is still to be told; None for nothing, also where it can't be read."""
        try:
            return Introduction.from_json(records.load(read_file(self._path)))
        except (OSError, ValueError):
            return None

    def keep(self, introduction: Introduction) -> None:
        """Write it down."""
        self._disk.write(self._path, records.dump(introduction.to_json()))

    def drop(self) -> None:
        """Forget it."""
        self._disk.remove([self._path])
