"""Reading a store without holding it: for workers, for a status while the proxy is down, and for the store.

Nothing here writes, locks or caches. Since every change is a rename, a reader at any moment sees a whole
store; all that can go is a generation pruned between two reads, and then the active one is read again.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from certstore import layout, records
from certstore.bundle import Bundle
from certstore.errors import NotFound, StoreCorrupt, StoreError, StoreExhausted
from certstore.generation import Generation
from certstore.receipts import Receipt, sequence_of
from certstore.slots import Slot, Source
from certstore.trust import TrustSet

__all__ = [
    "read_active",
    "read_bundle",
    "read_file",
    "read_generation",
    "read_generation_numbered",
    "read_generations",
    "read_receipts",
    "read_slots",
    "read_trust",
]

_ACTIVE_DIGITS = 18
_READ_BYTES: Final = 65_536  # more than most files of a store have
# What is no fault of a file: descriptors or memory are used up.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def read_file(path: Path | str) -> bytes:
    """Read a small file whole, in a third of the time of `Path.read_bytes`. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts)


def read_active(root: Path) -> int | None:
    """Read the number of the active generation; None in a store that never served anything.

    Raises StoreCorrupt when the file is there and can't be read as a number.
    """
    path = root / layout.ACTIVE
    try:
        text = path.read_bytes().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreCorrupt(path, error.strerror or str(error)) from error
    if not (text.isdigit() and len(text) <= _ACTIVE_DIGITS):
        raise StoreCorrupt(path, "it holds no number")
    return int(text)


def read_generation(root: Path) -> Generation | None:
    """Read the active generation; None in a store that never served anything.

    Raises StoreCorrupt when it can't be read.
    """
    number = read_active(root)
    while number is not None:
        try:
            return read_generation_numbered(root, number)
        except NotFound as error:
            again = read_active(root)
            if again == number:
                raise StoreCorrupt(root / layout.generation_file(number), "it is missing") from error
            number = again
    return None


def read_generation_numbered(root: Path, number: int) -> Generation:
    """Read one generation. Raises NotFound or StoreCorrupt."""
    path = root / layout.generation_file(number)
    try:
        generation = Generation.from_json(records.load(read_file(path)))
        if generation.number != number:
            raise ValueError(f"it says that it is number {generation.number}")  # noqa: TRY301  one way to tell damage
    except FileNotFoundError as error:
        raise NotFound("generation", str(number)) from error
    except (OSError, ValueError) as error:
        raise StoreCorrupt(path, _why(error)) from error
    return generation


def read_generations(root: Path, limit: int) -> list[Generation]:
    """Read at most `limit` generations that were or are active, the newest first; damaged ones left out.

    Raises StoreCorrupt when the active file can't be read.
    """
    active, found = read_active(root), list[Generation]()
    names = (os.path.basename(path) for path in _documents(root / layout.GENERATIONS))  # noqa: PTH119  see there
    numbers = (layout.generation_number(name) for name in names)
    for number in sorted((n for n in numbers if n is not None and n <= (active or 0)), reverse=True):
        if len(found) >= limit:
            break
        with suppress(StoreError):
            found.append(read_generation_numbered(root, number))
    return found


def read_bundle(root: Path, id: str) -> Bundle:  # noqa: A002  it is the bundle's id
    """Read a bundle, and prove again that it is the one its name says and that its key belongs to it.

    Raises NotFound, StoreCorrupt for whatever is wrong with its files, or StoreExhausted where the system has
    nothing left to read them with.
    """
    if not records.is_bundle_id(id):
        raise NotFound("bundle", id)
    folder = root / layout.bundle_folder(id)
    if not folder.is_dir():
        raise NotFound("bundle", id)
    try:
        bundle = Bundle.from_pem(read_file(folder / layout.KEY), read_file(folder / layout.CHAIN))
    except Exception as error:  # damaged bytes make X.509 parsers raise almost anything
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _EXHAUSTED:
            raise StoreExhausted(folder, _why(error)) from error
        raise StoreCorrupt(folder, _why(error)) from error
    if bundle.id != id:
        raise StoreCorrupt(folder, f"it holds the bundle {bundle.id}")
    return bundle


def read_trust(root: Path, id: str) -> TrustSet:  # noqa: A002  it is the set's id
    """Read a trust set. Raises NotFound, or StoreCorrupt for whatever is wrong with its files."""
    if not records.is_bundle_id(id):
        raise NotFound("trust set", id)
    folder = root / layout.trust_folder(id)
    try:
        held = TrustSet.from_pem(read_file(folder / layout.ANCHORS), read_file(folder / layout.CRLS))
    except FileNotFoundError as error:
        raise NotFound("trust set", id) from error
    except Exception as error:  # as for a bundle
        raise StoreCorrupt(folder, _why(error)) from error
    if held.id != id:
        raise StoreCorrupt(folder, f"it holds the trust set {held.id}")
    return held


def read_slots(root: Path) -> tuple[tuple[Slot, ...], tuple[StoreCorrupt, ...]]:
    """Read every slot's file, and what was wrong with those that could not be read."""
    slots: list[Slot] = []
    damaged: list[StoreCorrupt] = []
    for source in Source:
        for path in _documents(root / layout.SLOTS / source):
            try:
                slot = Slot.from_json(records.load(read_file(path)))
                if (source, os.path.basename(path)) != (slot.source, f"{slot.id}.json"):  # noqa: PTH119  see there
                    raise ValueError("it lies in another slot's place")  # noqa: TRY301  one way to tell damage
            except (OSError, ValueError) as error:
                damaged.append(StoreCorrupt(Path(path), _why(error)))
            else:
                slots.append(slot)
    return tuple(slots), tuple(damaged)


def read_receipts(root: Path) -> tuple[tuple[Receipt, ...], tuple[StoreCorrupt, ...]]:
    """Read all receipts, oldest first, and what was wrong with those that could not be read."""
    receipts: list[Receipt] = []
    damaged: list[StoreCorrupt] = []
    for path in _documents(root / layout.RECEIPTS):
        try:
            receipt = Receipt.from_json(records.load(read_file(path)))
            if os.path.basename(path) != f"{receipt.id}.json":  # noqa: PTH119  see there
                raise ValueError("it lies in another receipt's place")  # noqa: TRY301  one way to tell damage
        except (OSError, ValueError) as error:
            damaged.append(StoreCorrupt(Path(path), _why(error)))
        else:
            receipts.append(receipt)
    receipts.sort(key=lambda receipt: (sequence_of(receipt.id), receipt.id))
    return tuple(receipts), tuple(damaged)


def _documents(folder: Path) -> list[str]:
    """Give the paths of a folder's JSON files, sorted; as text, which is ten times quicker than `Path`."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in os.scandir(folder))
    return sorted(f"{folder}/{name}" for name in names if name.endswith(".json") and name[0] != ".")


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).partition("\n")[0] or type(error).__name__
