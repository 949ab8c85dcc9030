"""Erasing what a factory reset took out of service: keys, requests, files that came in, what tells of them.

Promises: what is erased is named by nothing that is served any more; a run that was stopped is simply done
again, and leads to the same. Wants the lock of whoever changes the store. Refuses to know what takes the
place of what goes (resetting.py).

Theory. A reset is a change like others (activation.py), and the rename of the active file is its point of no
return. But what an ordinary change leaves behind, as the way back, must go here, and a power cut may come
between. So the wish is written down (`reset.json`) behind the slots and before the generation that fulfils
it, and is removed when all is erased. A start that finds it looks whether that generation came: only then it
stands, else it is void, as all that a change wrote which was never served. Where the active file itself is
lost, the slots are the truth: it stands where they are those that it left.

What erasing means: files are unlinked, not overwritten. On flash an overwriting write goes to other cells, so
that it would wear them and erase nothing; what was unlinked may be read from the chips until they are reused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from certstore import layout, records
from certstore.archive import Archive
from certstore.atomic import Disk
from certstore.erasure import Erasure, Scope, left_by
from certstore.errors import StoreError, StoreNotWritable
from certstore.findings import Finding, found
from certstore.generation import Generation
from certstore.ledger import Handled, Ledger
from certstore.pruning import prune
from certstore.reading import read_file
from certstore.shelf import Shelf
from certstore.slots import Slot
from certstore.suspension import Suspension

__all__ = ["Erasing", "Furniture"]

_FOLDERS: Final = {
    Scope.CUSTOMER: (layout.REQUESTS, layout.ANSWERED, layout.ACCOUNTS, layout.ORDERS),
    Scope.IDENTITY: (layout.DEVICE_CA,),
}


@dataclass(frozen=True, slots=True)
class Furniture:
    """The rooms that hold what may go."""

    shelf: Shelf
    archive: Archive
    ledger: Ledger
    handled: Handled
    suspension: Suspension


class Erasing:
    """The file `reset.json`, and what follows from it. `owed`: what is still to be erased."""

    def __init__(self, root: Path, disk: Disk, furniture: Furniture) -> None:
        """Take the store's folder and its rooms; `load` comes before anything else."""
        self._root = root
        self._path = root / layout.RESET
        self._disk = disk
        self._rooms = furniture
        self.owed: Erasure | None = None
        self.on_erased: Callable[[], object] = lambda: None
        """Called when files are gone of which others keep something in memory."""

    def load(self, active: Generation | None, slots: Collection[Slot]) -> bool:
        """Read what the last run left; False where that is void. Writes nothing.

        active: None where it can't be read; slots: as they are on disk, or recorded in what is active.
        """
        self._rooms.suspension.load()
        try:
            erasure = Erasure.from_json(records.load(read_file(self._path)))
        except FileNotFoundError:
            return True
        except (OSError, ValueError):
            return False
        stands = self._has_come(erasure, active) if active is not None else _is_done(erasure, slots)
        self.owed = erasure if stands else None
        self.take_effect()
        return stands

    def announce(self, erasure: Erasure) -> None:
        """Write down what is to be erased once its generation is active; unless that is called off, it is."""
        self._disk.write(self._path, records.dump(erasure.to_json()))
        self.owed = erasure

    def call_off(self) -> None:
        """Forget what was announced: its generation has not come."""
        self.owed = None
        self._disk.remove([self._path])

    def take_effect(self) -> None:
        """Suspend watched directories now, in memory, whatever the disk will say to it."""
        if self.owed is not None and Scope.CUSTOMER in self.owed.scopes:
            self._rooms.suspension.is_on = True

    def finish(self, active: Generation | None, slots: Iterable[Slot], at: datetime) -> tuple[Finding, ...]:
        """Erase what is owed; gives what can't be, and stays. Raises StoreError: then it is owed still."""
        if self.owed is None:
            return ()
        erasure, slots, troubles = self.owed, tuple(slots), list[Finding]()
        if Scope.CUSTOMER in erasure.scopes:
            self._rooms.suspension.begin(erasure.receipt, at)
            self._rooms.handled.forget_all()
        for path in erasure.beside:
            troubles += self._without(path)
        for scope in sorted(erasure.scopes):
            for folder in _FOLDERS[scope]:
                self._disk.empty(self._root / folder)
        self.on_erased()
        if erasure.scopes:
            named = prune(self._rooms.archive, self._rooms.shelf, active, slots, keep=0, in_use=())
            if Scope.CUSTOMER in erasure.scopes:
                self._rooms.ledger.erase(before=erasure.receipt, but=named)
        self._disk.remove([self._path])
        self.owed = None
        return tuple(troubles)

    def _without(self, path: Path) -> Iterable[Finding]:
        """Erase what isn't the store's, and may be somebody else's: what stays keeps nothing else."""
        try:
            if path.is_dir():
                self._disk.empty(path)
            else:
                self._disk.remove([path])
        except StoreNotWritable as error:
            yield found("erase_failed", why=error)

    def _has_come(self, erasure: Erasure, active: Generation) -> bool:
        """Whether its generation was ever active; none is pruned as long as it is owed."""
        try:
            same = erasure.generation == active.number
            its = active if same else self._rooms.archive.generation(erasure.generation)
        except StoreError:
            return False  # in doubt nothing is erased
        return its.number <= active.number and its.receipt == erasure.receipt


def _is_done(erasure: Erasure, slots: Collection[Slot]) -> bool:
    """Whether the slots are those that a reset left."""
    others = tuple(slot for slot in slots if slot.receipt != erasure.receipt)
    return bool(slots) and left_by(erasure.scopes, others) == others
