"""Reading a store without holding it: for workers, for a status while the proxy is down, and for the store.

Nothing here writes, locks or caches. Since every change is a rename, a reader at any moment sees a whole
store; all that can go is a generation pruned between two reads, and then the active one is read again.
"""

from __future__ import annotations

from pathlib import Path

from certstore import layout, records
from certstore.bundle import Bundle
from certstore.errors import NotFound, StoreCorrupt
from certstore.generation import Generation
from certstore.receipts import Receipt, sequence_of
from certstore.slots import Slot, Source

__all__ = [
    "read_active",
    "read_bundle",
    "read_generation",
    "read_generation_numbered",
    "read_receipts",
    "read_slots",
]

_ACTIVE_DIGITS = 18


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
        generation = Generation.from_json(records.load(path.read_bytes()))
        if generation.number != number:
            raise ValueError(f"it says that it is number {generation.number}")  # noqa: TRY301  one way to tell damage
    except FileNotFoundError as error:
        raise NotFound("generation", str(number)) from error
    except (OSError, ValueError) as error:
        raise StoreCorrupt(path, _why(error)) from error
    return generation


def read_bundle(root: Path, id: str) -> Bundle:  # noqa: A002  it is the bundle's id
    """Read a bundle, and prove again that it is the one its name says and that its key belongs to it.

    Raises NotFound, or StoreCorrupt for whatever is wrong with its files.
    """
    if not records.is_bundle_id(id):
        raise NotFound("bundle", id)
    folder = root / layout.bundle_folder(id)
    if not folder.is_dir():
        raise NotFound("bundle", id)
    try:
        bundle = Bundle.from_pem((folder / layout.KEY).read_bytes(), (folder / layout.CHAIN).read_bytes())
    except Exception as error:  # damaged bytes make X.509 parsers raise almost anything
        raise StoreCorrupt(folder, _why(error)) from error
    if bundle.id != id:
        raise StoreCorrupt(folder, f"it holds the bundle {bundle.id}")
    return bundle


def read_slots(root: Path) -> tuple[tuple[Slot, ...], tuple[StoreCorrupt, ...]]:
    """Read every slot's file, and what was wrong with those that could not be read."""
    slots: list[Slot] = []
    damaged: list[StoreCorrupt] = []
    for source in Source:
        for path in sorted((root / layout.SLOTS / source).glob("[!.]*.json")):
            try:
                slot = Slot.from_json(records.load(path.read_bytes()))
                if path.relative_to(root) != Path(layout.slot_file(slot.source, slot.id)):
                    raise ValueError("it lies in another slot's place")  # noqa: TRY301  one way to tell damage
            except (OSError, ValueError) as error:
                damaged.append(StoreCorrupt(path, _why(error)))
            else:
                slots.append(slot)
    return tuple(slots), tuple(damaged)


def read_receipts(root: Path) -> tuple[tuple[Receipt, ...], tuple[StoreCorrupt, ...]]:
    """Read all receipts, oldest first, and what was wrong with those that could not be read."""
    receipts: list[Receipt] = []
    damaged: list[StoreCorrupt] = []
    for path in (root / layout.RECEIPTS).glob("[!.]*.json"):
        try:
            receipt = Receipt.from_json(records.load(path.read_bytes()))
            if receipt.id != path.stem:
                raise ValueError("it lies in another receipt's place")  # noqa: TRY301  one way to tell damage
        except (OSError, ValueError) as error:
            damaged.append(StoreCorrupt(path, _why(error)))
        else:
            receipts.append(receipt)
    receipts.sort(key=lambda receipt: (sequence_of(receipt.id), receipt.id))
    return tuple(receipts), tuple(damaged)


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).partition("\n")[0] or type(error).__name__
