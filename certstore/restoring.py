"""A backup on its way back into a store: one change, whole or not at all.

Promises: of the sources that are restored every slot is as it was in the backup, those of the others stay;
requests that waited wait here, too, beside those that do; numbers go on from wherever the store or the backup
had come to. Whatever stands in the way refuses it, and leaves nothing of it. A key that was banned, here or
where the backup was made, doesn't come back: its requests are left out, and its slots, which is told, since a
backup of before a theft is wanted most just after it.

Theory. Another device has an identity of its own (`generated`, `factory`): to carry that of the first one
over would make two devices with one key, so it is only done when asked for, to replace a broken unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certstore.backup import Backup
from certstore.changing import Case, Changing
from certstore.errors import Refusal
from certstore.findings import found
from certstore.receipts import Receipt
from certstore.requesting import Requesting
from certstore.shelf import Shelf
from certstore.slots import Key, Slot, Source, told_of
from certstore.succession import Succession

__all__ = ["Restoring"]

_OWN = frozenset({Source.GENERATED, Source.FACTORY})
_TOLD = 10


@dataclass(frozen=True, slots=True)
class Restoring:
    """Brings backups back."""

    changing: Changing
    succession: Succession
    shelf: Shelf
    requests: Requesting
    clock: Callable[[], datetime]

    def restore(self, case: Case, backup: Backup, *, identity: bool) -> Receipt:
        """Have the backup's slots; `identity`: those too that say which device this is. Raises Refusal."""
        sources = frozenset(Source) if identity else frozenset(Source) - _OWN
        wanted = sorted((s for s in backup.slots if s.source in sources), key=lambda slot: slot.newness)
        if not wanted:
            raise Refusal(found("backup_empty"))
        comes = self._without_banned(case, backup, wanted)
        now = self.succession.view.slots
        stays = {key: slot for key, slot in now.items() if slot.source not in sources}
        sealed = [slot for key, slot in now.items() if key not in stays and slot.sealed]
        if sealed:
            raise Refusal(*(found("slot_sealed", source=source) for source in {s.source for s in sealed}))
        # what follows is carried out: a refusal by workers costs only some numbers
        self.succession.next_number = max(self.succession.next_number, backup.generation + 1)
        slots = {**stays, **self._anew(case, comes)}
        self._tell_expired(case, backup, comes)
        named = {id_ for slot in comes for id_ in slot.bundles}
        fresh = tuple(one for one in backup.bundles if one.id in named)
        bans = set(backup.banned).difference(self.shelf.bans.table)
        banned = {*self.shelf.bans.table, *bans}
        requests = [one for one in backup.requests if one[0].spki not in banned]
        with self.requests.restoring(case.receipt.id, requests):
            return self.changing.put(case, slots, fresh, bans=bans)

    def _without_banned(self, case: Case, backup: Backup, wanted: list[Slot]) -> list[Slot]:
        """Leave out what has a banned key. Raises Refusal where that is everything."""
        banned = {*self.shelf.bans.table, *backup.banned}
        lost = {one.id for one in backup.bundles if one.spki in banned}
        told = [told_of("banned_left_out", slot) for slot in wanted if not lost.isdisjoint(slot.bundles)]
        case.tell(*told[:_TOLD])
        comes = [left for slot in wanted if (left := slot.without(lost)) is not None]
        if not comes:
            raise Refusal(*(told_of("slot_key_banned", slot) for slot in wanted[:_TOLD]))
        return comes

    def _anew(self, case: Case, comes: list[Slot]) -> dict[Key, Slot]:
        """Give the slots as this store's own, in the order of their age."""
        at, number = self.clock(), self.succession.next_number
        return {
            slot.key: replace(
                slot.confirmed(),
                via=case.receipt.via,
                receipt=case.receipt.id,
                stored_at=at + timedelta(microseconds=place),
                since=number,
            )
            for place, slot in enumerate(comes)
        }

    def _tell_expired(self, case: Case, backup: Backup, comes: list[Slot]) -> None:
        dates = {one.id: one.not_after for one in backup.bundles}
        ends = [(slot, min(dates[id_] for id_ in slot.bundles)) for slot in comes]
        for slot, end in [one for one in ends if one[1] < self.clock()][:_TOLD]:
            case.tell(told_of("restored_expired", slot, not_after=f"{end:%Y-%m-%d %H:%M} UTC"))
