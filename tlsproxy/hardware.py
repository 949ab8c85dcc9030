"""What tells this piece of hardware from all others: ids that the firmware has, or that were configured.

Promises: what a maker left blank, or gave to each board alike, is no id. Read as whoever we are: a PC's ids
(DMI) are root's alone, so that a copy counts that root made at boot. Refuses to know what follows from them
(certstore/unit.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from certstore import Finding, Seen, found
from tlsproxy.device import PLACEHOLDERS

__all__ = ["look"]

_FIRMWARE: Final = {
    "device-tree": Path("/proc/device-tree/serial-number"),
    "dmi-uuid": Path("/sys/class/dmi/id/product_uuid"),
    "dmi-serial": Path("/sys/class/dmi/id/product_serial"),
}
# What root copied at boot for whom may not read it there (conf/tlsproxy.tmpfiles): the same id.
_COPIES: Final = {"dmi-uuid": Path("/run/tlsproxy-dmi-uuid")}
_MACHINE_ID: Final = Path("/etc/machine-id")
_MOST_BYTES: Final = 4096
# UUIDs that are on thousands of boards: none, unset, and what AMI's firmware says when nobody set one.
_SHARED: Final = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "03000200-0400-0500-0006-000700080009",
        "not settable",
        "not present",
    }
)


def look(
    configured: Path | None,
    firmware: dict[str, Path] = _FIRMWARE,
    machine_id: Path = _MACHINE_ID,
    copies: dict[str, Path] = _COPIES,
) -> tuple[Seen, tuple[Finding, ...]]:
    """Read the ids, and say what keeps a configured one from being read. It alone counts then."""
    hardware: dict[str, str] = {}
    troubles: list[Finding] = []
    places = [*copies.items(), *firmware.items()]  # the firmware's own word wins
    for kind, path in [(f"file {configured}", configured)] if configured is not None else places:
        try:
            text = _read(path)
        except OSError as error:
            if configured is not None:
                why = (error.strerror or str(error)).lower()
                troubles.append(found("hardware_id_unreadable", path=path, why=why))
            continue
        if text not in PLACEHOLDERS | _SHARED:
            hardware[kind] = text
        elif configured is not None:
            troubles.append(
                found("hardware_id_unreadable", path=path, why="it holds no id of this unit alone")
            )
    return Seen(hardware, _machine(machine_id)), tuple(troubles)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("utf-8", "replace").strip(" \t\r\n\0").casefold()


def _machine(path: Path) -> str | None:
    """Read the machine-id (machine-id(5)); one that is not yet made is none."""
    try:
        text = _read(path)
    except OSError:
        return None
    return text if len(text) == 32 else None
