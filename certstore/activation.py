"""One change of what is served, from the first byte on disk to the point of no return.

Theory. The order is: bundles, slots, probation, erasure, bans, generation, prepare, active. Each of them is
whole on disk before the next one names it, so the active file never leads to anything that isn't there. Until
the active file is renamed nothing is served from the new files, and everything can be put back; whatever goes
wrong until then (the disk, the publisher, a cancellation) is undone in the reverse order, and the old
generation was active all the time. What can't be undone because the disk fails for good, or because we were
killed, is undone by the next start: it finds a slot's file differing from what the active generation
recorded. After the rename there is no way back, only forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from certstore import layout, records
from certstore.archive import Archive
from certstore.atomic import Disk
from certstore.bans import Ban
from certstore.bundle import Bundle
from certstore.erasing import Erasing
from certstore.erasure import Erasure
from certstore.errors import Refusal, StoreError
from certstore.findings import found
from certstore.gates import Publisher
from certstore.generation import Generation
from certstore.probation import Probation, Probations
from certstore.shelf import Shelf
from certstore.slots import Slot

T = TypeVar("T")

__all__ = ["Activation", "Change", "Move"]

Move = tuple[Slot | None, Slot | None]
"""A slot as it was and as it is to be; None: there is none."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the slots; the bundles that go on the shelf first, and what is in probation then.

    erasure: what is to be erased once it is active.
    """

    moves: tuple[Move, ...]
    bundles: tuple[Bundle, ...] = ()
    on_probation: Mapping[str, Probation] | None = None
    erasure: Erasure | None = None
    bans: tuple[Ban, ...] = ()


class Activation:
    """Carries out changes. Wants the store's lock."""

    def __init__(
        self,
        root: Path,
        disk: Disk,
        shelf: Shelf,
        archive: Archive,
        probations: Probations,
        erasing: Erasing,
    ) -> None:
        """Take the store's folder and its rooms."""
        self._root = root
        self._disk = disk
        self._shelf = shelf
        self._archive = archive
        self._probations = probations
        self._erasing = erasing

    def run(self, generation: Generation, publisher: Publisher, change: Change | None = None) -> None:
        """Make `generation` the active one, writing `change` first; the publisher is prepared, not committed.

        Raises StoreError when the disk fails and Refusal (`prepare_failed`) when the publisher does; the old
        generation is active then, and nothing of the new one is left but what a failing disk would not let
        go.
        """
        self._shelf.bans.sweep()  # what a start could not remove would be in force from this generation on
        undo = ExitStack()
        try:
            # each way back is known before its step: a step that fails may have taken effect
            if change is not None:
                self._write_change(change, undo)
            undo.callback(_quietly, self._archive.remove, [generation.number])
            self._archive.put(generation)
            try:
                publisher.prepare(generation)
            except Exception as error:  # the border around one change: whatever a worker dislikes refuses it
                raise Refusal(found("prepare_failed", why=_words(error))) from error
            self._archive.point_at(generation.number)
        except BaseException:
            # an interrupt may come just behind the rename, and then there is no way back
            if not self._archive.is_active(generation.number):
                undo.close()
            raise

    def write_slot(self, slot: Slot) -> None:
        """Write a slot's file."""
        self._disk.write(self._slot_path(slot), records.dump(slot.to_json()))

    def remove_slot(self, slot: Slot) -> None:
        """Remove a slot's file."""
        self._disk.remove([self._slot_path(slot)])

    def _write_change(self, change: Change, undo: ExitStack) -> None:
        for bundle in change.bundles:
            if not self._shelf.has(bundle.id):
                undo.callback(_quietly, self._shelf.remove, [bundle.id])
            self._shelf.put(bundle)
        self._write_moves(change.moves, undo)
        if change.on_probation is not None:
            undo.callback(_quietly, self._probations.save, self._probations.table)
            self._probations.save(change.on_probation)
        if change.erasure is not None:
            undo.callback(_quietly, lambda _: self._erasing.call_off(), None)
            self._erasing.announce(change.erasure)
        bans = self._shelf.bans
        for ban in change.bans:
            undo.callback(_quietly, bans.lift, [ban])
            bans.put(ban)

    def _write_moves(self, moves: Iterable[Move], undo: ExitStack) -> None:
        for before, after in moves:
            if before is not None:
                undo.callback(_quietly, self.write_slot, before)
            elif after is not None:
                undo.callback(_quietly, self.remove_slot, after)
            if after is not None:
                self.write_slot(after)
            elif before is not None:
                self.remove_slot(before)

    def _slot_path(self, slot: Slot) -> Path:
        return self._root / layout.slot_file(slot.source, slot.id)


def _quietly(step: Callable[[T], None], what: T) -> None:
    """Undo one step; where the disk won't, the next start will."""
    with suppress(StoreError):
        step(what)


def _words(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
