"""The bundles on disk, and what of them is in memory: what is known of each, and the few that are in use.

Promises: `bundle` proves what it reads, and keeps the last few: bundles are immutable, so memory can't go
stale. `facts` tells of every bundle that may be served, and all rows are computed from it: what can't be
loaded isn't in it, nor what has a banned key. In a large store that is on trust at first (meta.py says why
that is right), and `prove` is how trust becomes knowledge. Reading is safe from any thread; `put`, `remove`
and `mend` want the store's lock.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from certstore import layout, records
from certstore.atomic import Disk
from certstore.bans import Bans
from certstore.bundle import Bundle, PrivateKey
from certstore.errors import StoreError, StoreExhausted
from certstore.generation import BundleFacts
from certstore.meta import Meta
from certstore.reading import read_bundle, read_file
from certstore.revocations import Revocations

__all__ = ["Shelf"]

# Up to so many bundles a start reads whole, 50 ms in all: a device has two or three.
READ_WHOLE = 200
# Bundles kept in memory, 14 KB each: the device's own, and those of the last proposals.
KEPT = 64


class Shelf:
    """The folder `bundles/`."""

    def __init__(self, root: Path, disk: Disk, bans: Bans) -> None:
        """Take the store's folder, and which keys are banned."""
        self.bans, self.revoked = bans, Revocations(root, disk)
        self._root = root
        self._disk = disk
        self._metas: dict[str, Meta] = {}  # of all that can be loaded, as far as is known
        self._unproved: dict[str, None] = {}  # of these: what is taken on trust
        self._stale: dict[str, None] = {}  # whose meta.json is not as we would write it
        self._spki: dict[str, str] = {}
        self._kept: OrderedDict[str, Bundle] = OrderedDict()  # the last used at the end
        self._keeping = threading.Lock()

    def index(self) -> None:
        """Learn from each `meta.json` which keys are here, and in a large store what can be loaded."""
        ids = self.ids()
        for id_ in ids:
            data: dict[str, object] = {}
            try:
                data = records.load(read_file(self._path(id_, layout.META)))
                self._spki[id_] = records.text(data, "spki")
            except (OSError, ValueError):
                pass  # its key can't be found by SPKI then; the bundle is judged where it is served
            if len(ids) > READ_WHOLE:
                self._trust(id_, data)

    def ids(self) -> frozenset[str]:
        """Give the ids of all bundles on disk, whole or not."""
        folder = self._root / layout.BUNDLES
        if not folder.is_dir():
            return frozenset()
        return frozenset(filter(records.is_bundle_id, os.listdir(folder)))  # noqa: PTH208  thousands of names

    def has(self, id: str) -> bool:  # noqa: A002  it is the bundle's id
        """Whether this bundle is on disk, whole or not."""
        return (self._root / layout.bundle_folder(id)).is_dir()

    def bundle(self, id: str) -> Bundle:  # noqa: A002  it is the bundle's id
        """Give a bundle. Raises NotFound, StoreCorrupt or StoreExhausted."""
        with self._keeping:
            bundle = self._kept.get(id)
            if bundle is not None:
                self._kept.move_to_end(id)
                return bundle
        bundle = self._read(id)
        self._keep(bundle)
        return bundle

    def meta(self, id: str) -> Meta:  # noqa: A002  it is the bundle's id
        """Give what is known of a bundle, reading it only where nothing is. Raises as `bundle`."""
        meta = self._metas.get(id)
        return meta if meta is not None else Meta.of(self.bundle(id))

    def facts(self, ids: Iterable[str]) -> dict[str, BundleFacts]:
        """Give the facts of those bundles that may be served: whole, and with no key that is banned.

        What couldn't be loaded before is tried again.
        """
        facts: dict[str, BundleFacts] = {}
        for id_ in set(ids):
            try:
                meta = self.meta(id_)
            except StoreError:
                continue  # not being here is what the caller wants to know
            if meta.spki not in self.bans:
                facts[id_] = self.marked(id_, meta.facts)
        return facts

    def marked(self, id: str, facts: BundleFacts) -> BundleFacts:  # noqa: A002  it is the bundle's id
        """Give the facts of a bundle with what its authority says of it."""
        return replace(facts, revoked=True) if id in self.revoked else facts

    def spki(self, id: str) -> str | None:  # noqa: A002  it is the bundle's id
        """Give the SPKI hash of a bundle's key; None where it can't be loaded."""
        try:
            return self.meta(id).spki
        except StoreError:
            return None

    def is_banned(self, id: str) -> bool:  # noqa: A002  it is the bundle's id
        """Whether this bundle's key is banned."""
        return bool(self.bans.table) and self.spki(id) in self.bans

    def with_keys(self, spkis: Collection[str]) -> frozenset[str]:
        """Give the ids of all bundles here that have one of these keys."""
        return frozenset(id_ for id_, spki in tuple(self._spki.items()) if spki in spkis)

    def is_whole(self, id: str) -> bool:  # noqa: A002  it is the bundle's id
        """Whether this bundle can be loaded: read from the disk now, unless it is in memory."""
        try:
            self.bundle(id)
        except StoreError:
            return False
        return True

    def unproved(self) -> tuple[str, ...]:
        """Give the ids of those bundles that are taken on trust."""
        return tuple(self._unproved)

    def prove(self, id: str) -> bool:  # noqa: A002  it is the bundle's id
        """Read a bundle from the disk; True where what was known of it was wrong.

        Where the system has nothing left to read it with, nothing becomes known.
        """
        with self._keeping:
            self._kept.pop(id, None)
        known = self._metas.get(id)
        try:
            self._read(id)
        except StoreExhausted:
            return False
        except StoreError:
            return known is not None
        return known is not None and known != self._metas.get(id)

    def key(self, spki: str) -> PrivateKey | None:
        """Give the private key with this SPKI hash, if a whole bundle here holds it."""
        for id_, held in tuple(self._spki.items()):
            if held == spki:
                try:
                    return self.bundle(id_).key
                except StoreError:
                    continue
        return None

    def metas_with(self, spki: str) -> tuple[Meta, ...]:
        """Give what is known of the whole bundles that hold the key with this SPKI hash."""
        metas: list[Meta] = []
        for id_, held in tuple(self._spki.items()):
            if held == spki:
                with suppress(StoreError):
                    metas.append(self.meta(id_))
        return tuple(metas)

    def put(self, bundle: Bundle) -> None:
        """Write a bundle, unless a whole one is here already; a damaged one is replaced."""
        folder = self._root / layout.bundle_folder(bundle.id)
        if folder.exists():
            try:
                bundle = read_bundle(self._root, bundle.id)
            except StoreError:
                self._disk.remove_folder(folder)
        if not folder.exists():
            key, chain = bundle.key_pem(), bundle.chain_pem()
            meta = Meta.of(bundle).to_json(len(key), len(chain))
            files = {layout.KEY: key, layout.CHAIN: chain, layout.META: records.dump(meta)}
            self._disk.place_folder(folder, files)
            self._stale.pop(bundle.id, None)
        self._learn(bundle)
        self._keep(bundle)
        self._spki[bundle.id] = bundle.spki

    def mend(self, at_most: int) -> None:
        """Write meta.json anew for up to so many bundles: what an older version wrote, or what was wrong."""
        for id_ in [id_ for id_ in tuple(self._stale) if id_ in self._metas][:at_most]:
            meta = self._metas[id_]
            with suppress(OSError):  # it was removed meanwhile, or can't be read any more
                content = records.dump(meta.to_json(*self._sizes(id_)))
                path, bundles = Path(self._path(id_, layout.META)), self._root / layout.BUNDLES
                self._disk.write(path, content, aside_in=bundles)
                self._spki[id_] = meta.spki
            self._stale.pop(id_, None)

    def remove(self, ids: Iterable[str]) -> None:
        """Remove bundles, keys and all; those that are gone already don't count."""
        for id_ in sorted(ids):
            with self._keeping:
                self._kept.pop(id_, None)
            for known in (self._metas, self._unproved, self._stale, self._spki):
                known.pop(id_, None)
            self._disk.remove_folder(self._root / layout.bundle_folder(id_))

    def _path(self, id_: str, name: str) -> str:
        return f"{self._root}/{layout.BUNDLES}/{id_}/{name}"  # as text: a start asks for thousands

    def _sizes(self, id_: str) -> tuple[int, int]:
        key, chain = (os.stat(self._path(id_, name)).st_size for name in (layout.KEY, layout.CHAIN))  # noqa: PTH116
        return key, chain

    def _trust(self, id_: str, data: dict[str, object]) -> None:
        """Believe what stands beside a bundle, where its files have the sizes that it had."""
        try:
            meta = Meta.from_json(data, *self._sizes(id_))
            if meta.id != id_:
                raise ValueError("it is another bundle's")  # noqa: TRY301  one way to tell damage
        except (OSError, ValueError):
            self._stale[id_] = None
        else:
            self._metas[id_] = meta
            self._unproved[id_] = None

    def _read(self, id_: str) -> Bundle:
        try:
            bundle = read_bundle(self._root, id_)
        except StoreExhausted:
            raise
        except StoreError:
            self._metas.pop(id_, None)
            self._unproved.pop(id_, None)
            raise
        self._learn(bundle)
        return bundle

    def _learn(self, bundle: Bundle) -> None:
        meta = Meta.of(bundle)
        known = self._metas.setdefault(bundle.id, meta)
        if known != meta:
            self._metas[bundle.id] = meta
            self._stale[bundle.id] = None
        self._unproved.pop(bundle.id, None)

    def _keep(self, bundle: Bundle) -> None:
        with self._keeping:
            self._kept[bundle.id] = bundle
            self._kept.move_to_end(bundle.id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
