"""The bundles and generations on disk, with what of them is in memory.

A bundle that was read once was proved whole, and is kept: bundles are immutable, so memory can't go stale.
Reading is safe from any thread; `put` and `remove` want the store's lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from certstore import layout, records
from certstore.atomic import Disk
from certstore.bundle import Bundle, PrivateKey
from certstore.errors import StoreError
from certstore.generation import BundleFacts, Generation
from certstore.reading import read_active, read_bundle, read_generation_numbered

__all__ = ["Archive", "Shelf"]


class Shelf:
    """The folder `bundles/`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder."""
        self._root = root
        self._disk = disk
        self._read: dict[str, Bundle] = {}
        self._spki: dict[str, str] = {}

    def index(self) -> None:
        """Learn which keys are here, from `meta.json` alone: no key is read for it."""
        for id_ in self.ids():
            try:
                meta = records.load((self._root / layout.bundle_folder(id_) / layout.META).read_bytes())
                self._spki[id_] = records.text(meta, "spki")
            except (OSError, ValueError):
                continue  # its key can't be found by SPKI then; the bundle is judged where it is served

    def ids(self) -> frozenset[str]:
        """Give the ids of all bundles on disk, whole or not."""
        folder = self._root / layout.BUNDLES
        if not folder.is_dir():
            return frozenset()
        return frozenset(path.name for path in folder.iterdir() if records.is_bundle_id(path.name))

    def bundle(self, id: str) -> Bundle:  # noqa: A002  it is the bundle's id
        """Give a bundle. Raises NotFound or StoreCorrupt."""
        bundle = self._read.get(id)
        if bundle is None:
            bundle = self._read[id] = read_bundle(self._root, id)
        return bundle

    def facts(self, ids: Iterable[str]) -> dict[str, BundleFacts]:
        """Give the facts of those bundles that can be loaded."""
        facts: dict[str, BundleFacts] = {}
        for id_ in set(ids):
            try:
                facts[id_] = BundleFacts.of(self.bundle(id_))
            except StoreError:
                continue  # not being here is what the caller wants to know
        return facts

    def key(self, spki: str) -> PrivateKey | None:
        """Give the private key with this SPKI hash, if a whole bundle here holds it."""
        for id_, held in tuple(self._spki.items()):
            if held == spki:
                try:
                    return self.bundle(id_).key
                except StoreError:
                    continue
        return None

    def put(self, bundle: Bundle) -> None:
        """Write a bundle, unless a whole one is here already; a damaged one is replaced."""
        folder = self._root / layout.bundle_folder(bundle.id)
        if folder.exists():
            try:
                self._read[bundle.id] = read_bundle(self._root, bundle.id)
            except StoreError:
                self._disk.remove_folder(folder)
            else:
                self._spki[bundle.id] = bundle.spki
                return
        files = {
            layout.KEY: bundle.key_pem(),
            layout.CHAIN: bundle.chain_pem(),
            layout.META: records.dump(_meta(bundle)),
        }
        self._disk.place_folder(folder, files)
        self._read[bundle.id] = bundle
        self._spki[bundle.id] = bundle.spki

    def remove(self, ids: Iterable[str]) -> None:
        """Remove bundles, keys and all; those that are gone already don't count."""
        for id_ in sorted(ids):
            self._read.pop(id_, None)
            self._spki.pop(id_, None)
            self._disk.remove_folder(self._root / layout.bundle_folder(id_))


class Archive:
    """The folder `generations/`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder."""
        self._root = root
        self._disk = disk
        self._read: dict[int, Generation] = {}

    def numbers(self) -> list[int]:
        """Give the numbers of all generations on disk, oldest first."""
        folder = self._root / layout.GENERATIONS
        if not folder.is_dir():
            return []
        return sorted(
            number for path in folder.iterdir() if (number := layout.generation_number(path.name)) is not None
        )

    def generation(self, number: int) -> Generation:
        """Give a generation. Raises NotFound or StoreCorrupt."""
        generation = self._read.get(number)
        if generation is None:
            generation = self._read[number] = read_generation_numbered(self._root, number)
        return generation

    def put(self, generation: Generation) -> None:
        """Write a generation; its number must be new."""
        path = self._root / layout.generation_file(generation.number)
        self._disk.write(path, records.pack(generation.to_json()))
        self._read[generation.number] = generation

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove generations; those that are gone already don't count."""
        gone = sorted(numbers)
        for number in gone:
            self._read.pop(number, None)
        self._disk.remove(self._root / layout.generation_file(number) for number in gone)

    def point_at(self, number: int) -> None:
        """Make a generation the active one: the point of no return of every change.

        When this raises, the old one is active still.
        """
        try:
            self._disk.write(self._root / layout.ACTIVE, b"%d\n" % number)
        except StoreError:
            # The rename may have happened, and only the sync of the folder failed: then every reader sees
            # the new number, and so must we. Should a power cut bring the old one back, recovery puts the
            # rest back too.
            if not self.is_active(number):
                raise

    def is_active(self, number: int) -> bool:
        """Look whether the active file names this generation now."""
        return self.pointed_at() == number

    def pointed_at(self) -> int | None:
        """Look which generation the active file names now; None when it can't be read."""
        try:
            return read_active(self._root)
        except StoreError:
            return None


def _meta(bundle: Bundle) -> dict[str, object]:
    """Give what a reader may want to know without touching the key."""
    return {
        "id": bundle.id,
        "names": list(bundle.names),
        "fingerprint": bundle.fingerprint,
        "spki": bundle.spki,
        "key_type": bundle.key_type,
        "not_before": records.moment_text(bundle.not_before),
        "not_after": records.moment_text(bundle.not_after),
        "self_signed": bundle.self_signed,
    }
