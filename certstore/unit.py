"""Which unit a store belongs to, and whether this is it. Pure.

Theory. Devices are made by copying an image, or each other. Where a key comes along, every copy has it, and
whoever holds one device can speak for all of them. So a store remembers the hardware that it was made for, by
hashes only, and a start compares. What may be concluded, and what not:

- *An id of the same kind differs, and none is the same*: the store was copied here, or the board was changed.
  Both look alike, and in both cases a new key of the device's own is right in the first and bearable in the
  second: whoever pinned the old one must compare once more. What customer, ACME or factory brought is never
  touched: that another unit may hold it too is told, for as long as it is here.
- *One id is the same, another differs* (a serial number filled in by service): the same unit.
- *An id is there for the first time* (a firmware that tells more, a permission): learnt, nothing concluded.
- *No id is known*: nothing is concluded. A machine-id is no hardware: it changes with the installation, and
  images that forget to clear it share it. That it has changed is told once.
- *The device's own key is older than the unit's first start*: it came with an image. That is sure only where
  no record was made before, since a record is written before the first key; and likely where the record knew
  no hardware and another machine-id. Told, and left to a person: the key may have been put here on purpose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from certstore import records

__all__ = ["Seen", "Unit", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What this system says of itself: hardware ids by their kind, and the machine-id where there is one."""

    hardware: Mapping[str, str] = field(repr=False)
    machine: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Unit:
    """What a store remembers, as hashes; `inherited`: the SPKI hashes of keys that another may have, too."""

    salt: str
    hardware: Mapping[str, str]
    machine: str | None
    inherited: frozenset[str] = frozenset()

    @classmethod
    def of(cls, salt: str, seen: Seen, inherited: frozenset[str] = frozenset()) -> Unit:
        """Remember what is seen."""
        machine = _hashed(salt, "machine-id", seen.machine) if seen.machine else None
        hardware = {kind: _hashed(salt, kind, id_) for kind, id_ in seen.hardware.items()}
        return cls(salt, hardware, machine, inherited)

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        return {
            "salt": self.salt,
            "hardware": dict(sorted(self.hardware.items())),
            "machine": self.machine,
            "inherited": sorted(self.inherited),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Unit:
        """Read what `to_json` made; ValueError for anything else."""
        hardware = data.get("hardware")
        if not isinstance(hardware, dict) or not all(isinstance(one, str) for one in hardware.values()):
            raise ValueError("hardware is missing or of the wrong kind")
        machine = records.optional(records.text, data, "machine")
        inherited = frozenset(records.texts(data, "inherited"))
        return cls(records.text(data, "salt"), hardware, machine, inherited)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a start concludes; `unit` is to be remembered from now on."""

    is_copy: bool
    machine_changed: bool
    unit: Unit


def judge(
    known: Unit | None, seen: Seen, own: frozenset[str], others: frozenset[str], fresh_salt: str
) -> Verdict:
    """Compare. `own`, `others`: the SPKI hashes of the device's own keys, and of what was brought to it."""
    if known is None:
        return Verdict(False, False, Unit.of(fresh_salt, seen, inherited=own))
    now = Unit.of(known.salt, seen)
    shared = known.hardware.keys() & now.hardware.keys()
    if shared and all(known.hardware[kind] != now.hardware[kind] for kind in shared):
        unit = Unit.of(fresh_salt, seen, known.inherited | own | others)
        return Verdict(is_copy=True, machine_changed=False, unit=unit)
    changed = None not in {known.machine, now.machine} and known.machine != now.machine
    inherited = known.inherited
    if changed and now.hardware and not known.hardware:  # it was made where nothing told the hardware
        inherited |= own
    hardware = {**known.hardware, **now.hardware}
    unit = Unit(known.salt, hardware, now.machine or known.machine, inherited & (own | others))
    return Verdict(is_copy=False, machine_changed=changed, unit=unit)


def _hashed(salt: str, kind: str, id_: str) -> str:
    return hashlib.sha256(f"{salt}\0{kind}\0{id_}".encode("utf-8", "surrogateescape")).hexdigest()
