"""Probation: live changes that go back by themselves unless they are confirmed in time.

`Probation` is one of them, `Probations` the file `probation.json`. Promises: a way back is the last confirmed
state of the slot, also when several changes came since; the time is the boot's own (CLOCK_BOOTTIME counts
while the device sleeps, and no wall clock that is set moves it), so after a reboot nothing is waited for.

Theory. The entry is written before the generation that it belongs to becomes active, and removed after the
change is confirmed or gone: so a change that is served unconfirmed always has one. An entry counts only while
its slot is in the very state that it watches over (`stands_in`); what a crash leaves is thereby void without
being removed. Where the file itself is damaged, the receipts still say which changes wanted a confirmation,
and these go back at the next start: whoever waits outside a locked door is worse off than who must import
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from certstore import layout, records
from certstore.atomic import Disk
from certstore.errors import StoreCorrupt
from certstore.reading import read_file
from certstore.receipts import State
from certstore.slots import Key, Slot, Source

__all__ = ["BootClock", "BootTime", "Probation", "Probations", "gone_back", "unknown_boot"]


@dataclass(frozen=True, slots=True)
class BootTime:
    """A moment of one boot: which boot, and the seconds since (of CLOCK_BOOTTIME)."""

    boot: str
    seconds: float


BootClock = Callable[[], BootTime]


def unknown_boot() -> BootTime:
    """Know no boot: what is in probation goes back at a start, and nothing new is put in it."""
    return BootTime("", 0.0)


@dataclass(frozen=True, slots=True)
class Probation:
    """One change in probation: its slot's name and receipt, the end in `boot`'s seconds, and the way back.

    `way_back` None: the slot was not there before, and goes away again. `word`: the SHA-256, in hex, of the
    word by which a client confirms it over the network; "" where none was given out.
    """

    key: Key
    receipt: str
    boot: str
    ends_at: float
    way_back: Slot | None
    word: str = ""

    def is_over(self, now: BootTime) -> bool:
        """Whether it goes back now."""
        return now.boot != self.boot or now.seconds >= self.ends_at

    def stands_in(self, slots: Mapping[Key, Slot]) -> bool:
        """Whether the change is what its slot has, and not confirmed."""
        slot = slots.get(self.key)
        return slot is not None and slot.receipt == self.receipt and not slot.is_confirmed

    def has_gone_back(self, slots: Mapping[Key, Slot]) -> bool:
        """Whether the slot is as it was before."""
        slot = slots.get(self.key)
        if slot is None or self.way_back is None:
            return slot is self.way_back
        return slot.tenure == self.way_back.tenure

    def end_in(self, slots: Mapping[Key, Slot]) -> State:
        """Say how it ended, once it doesn't stand in these slots."""
        slot = slots.get(self.key)
        if slot is not None and slot.receipt == self.receipt:
            return State.CONFIRMED
        return State.ROLLED_BACK if self.has_gone_back(slots) else State.SUPERSEDED

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        source, slot = self.key
        return {
            "source": str(source),
            "slot": slot,
            "receipt": self.receipt,
            "boot": self.boot,
            "ends_at_ms": round(self.ends_at * 1000),
            "way_back": self.way_back.to_json() if self.way_back is not None else None,
            "word": self.word,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Probation:
        """Read what `to_json` made; ValueError for anything else."""
        back = data.get("way_back")
        if not (back is None or isinstance(back, dict)):
            raise ValueError("way_back is of the wrong kind")
        return cls(
            key=(Source(records.text(data, "source")), records.text(data, "slot")),
            receipt=records.text(data, "receipt"),
            boot=records.text(data, "boot"),
            ends_at=records.number(data, "ends_at_ms") / 1000,
            way_back=Slot.from_json(back) if back is not None else None,
            word=records.text(data, "word") if "word" in data else "",
        )


def gone_back(slots: Mapping[Key, Slot], over: Iterable[Probation]) -> dict[Key, Slot]:
    """Give the slots as they are when these have gone back."""
    after = dict(slots)
    for one in over:
        if one.way_back is not None:
            after[one.key] = one.way_back
        else:
            after.pop(one.key, None)
    return after


class Probations:
    """The file `probation.json`. `table` is by receipt; it is swapped whole, and read from any thread."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._path = root / layout.PROBATION
        self._disk = disk
        self._on_disk: Mapping[str, Probation] | None = {}  # None: a file that can't be read
        self.table: Mapping[str, Probation] = MappingProxyType({})

    def load(self) -> StoreCorrupt | None:
        """Read the file; gives what is wrong with it."""
        try:
            data = records.load(read_file(self._path))
            entries = [Probation.from_json(one) for one in records.items(data, "changes")]
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._on_disk = None
            return StoreCorrupt(self._path, str(error))
        self._on_disk = self.table = MappingProxyType({one.receipt: one for one in entries})
        return None

    def of(self, slot: Slot | None) -> Probation | None:
        """Give the probation that a slot is in."""
        found = self.table.get(slot.receipt) if slot is not None else None
        return found if found is not None and slot is not None and found.stands_in({slot.key: slot}) else None

    def save(self, table: Mapping[str, Probation]) -> None:
        """Have exactly these from now on; in memory also where the disk fails. Writes only what is news."""
        self.table = MappingProxyType(dict(table))
        if table == self._on_disk:
            return
        if table:
            self._disk.write(self._path, records.dump({"changes": [one.to_json() for one in table.values()]}))
        else:
            self._disk.remove([self._path])
        self._on_disk = self.table
