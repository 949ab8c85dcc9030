"""Certificates for many names, each with a key of its own: as files for the peers, as a store for us.

The files are made once a run, in a folder beside those of the servers; a name's file holds its chain and its
key. The store is written by certstore's own rooms, bundle by bundle and slot by slot, but with one generation
for all instead of one for each: proposing 10,000 certificates one after the other would take longer than the
whole suite. What comes out is what certstore would have computed (a test holds that).
"""

from __future__ import annotations

import hashlib
import shutil
import ssl
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certstore import Bundle, Cause, Generation, Row, Slot, Source
from certstore.atomic import Disk
from certstore.premises import enter, furnish
from certstore.rooms import Rooms
from certstore.slots import in_order
from tests.pki import Pki

# A file system in memory, where there is one: 70,000 syncs of a disk would take minutes.
_MEMORY = Path("/dev/shm")
_RECEIPT = "000001-00000000"


def name_of(number: int) -> str:
    """Give one of the names."""
    return f"n{number:05}.many.test"


def file_of(folder: Path, name: str) -> Path:
    """Give the file of a name's chain and key."""
    return folder / f"{name}.pem"


def fingerprint_of(path: Path) -> str:
    """Give the SHA-256 of a file's leaf, lower-case hex."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    leaf = begin + path.read_text().split(begin)[1].split(end)[0] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()


def make_files(folder: Path, count: int) -> None:
    """Make the certificates of the first `count` names, unless they are there."""
    if folder.exists():
        return
    aside, pki = folder.with_name(f".new-{folder.name}"), Pki()
    aside.mkdir()
    for number in range(count):
        issued = pki.leaf(names=(name_of(number),))
        path = file_of(aside, name_of(number))
        path.touch(0o600)
        path.write_bytes(issued.chain_pem + issued.key_pem)
    aside.rename(folder)


def read_bundle(path: Path) -> Bundle:
    """Read a file of chain and key."""
    chain, key = path.read_bytes().split(b"-----BEGIN PRIVATE KEY-----")
    return Bundle.from_pem(b"-----BEGIN PRIVATE KEY-----" + key, chain)


def fill_store(store: Path, bundles: Iterable[Bundle], now: datetime) -> None:
    """Make a store that serves all of these; the last is for strangers, too. Bundles may not share a name."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        made = Path(folder) / "store"
        _fill(made, bundles, now)
        shutil.copytree(made, store)


def _fill(root: Path, bundles: Iterable[Bundle], now: datetime) -> None:
    disk = Disk()
    enter(root, disk)
    furnish(root, disk)
    rooms = Rooms.of(root, disk)
    shelf, archive, activation = rooms.shelf, rooms.archive, rooms.activation
    rows, slots, default = [], [], None
    for number, bundle in enumerate(bundles):
        at = now + timedelta(microseconds=number)
        slot = Slot(Source.CUSTOMER, bundle.names, bundle.id, bundle.id, "benchmark", False, _RECEIPT, at, 1)
        shelf.put(bundle)
        activation.write_slot(slot)
        slots.append(slot)
        rows += [Row(name, bundle.id, Source.CUSTOMER) for name in bundle.names]
        default = bundle.id
    rows.sort(key=lambda row: row.pattern)
    archive.put(Generation(1, tuple(rows), default, in_order(slots), Cause.PROPOSAL, None, now))
    archive.point_at(1)


def store_of_files(store: Path, folder: Path, count: int, own: Path) -> None:
    """Make a store of the first `count` names' files; `own` is the file for strangers."""
    paths = [*(file_of(folder, name_of(number)) for number in range(count)), own]
    fill_store(store, map(read_bundle, paths), datetime.now(UTC))
