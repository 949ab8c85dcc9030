"""The rooms of a store: who keeps what in its folder, made together because some need others.

Decides nothing. Each wants the lock of whoever changes the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from certstore.activation import Activation
from certstore.archive import Archive
from certstore.atomic import Disk
from certstore.bans import Bans
from certstore.erasing import Erasing, Furniture
from certstore.ledger import Handled, Ledger
from certstore.probation import Probations
from certstore.shelf import Shelf
from certstore.suspension import Suspension

__all__ = ["Rooms"]


@dataclass(frozen=True, slots=True)
class Rooms:
    """All of them."""

    shelf: Shelf
    archive: Archive
    ledger: Ledger
    handled: Handled
    probations: Probations
    suspension: Suspension
    erasing: Erasing
    activation: Activation

    @classmethod
    def of(cls, root: Path, disk: Disk) -> Self:
        """Make them for the store in the folder `root`; what they hold is read by a start (recovery.py)."""
        bans = Bans(root, disk)
        shelf, archive, ledger = Shelf(root, disk, bans), Archive(root, disk), Ledger(root, disk)
        handled, probations, suspension = Handled(root, disk), Probations(root, disk), Suspension(root, disk)
        erasing = Erasing(root, disk, Furniture(shelf, archive, ledger, handled, suspension))
        activation = Activation(root, disk, shelf, archive, probations, erasing)
        return cls(shelf, archive, ledger, handled, probations, suspension, erasing, activation)
