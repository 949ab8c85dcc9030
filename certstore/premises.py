"""The store's own folder: made, private, ours, and of a format that we know.

What this refuses is refused before anything is read: keys in a folder that others can enter may be known to
them already, and whoever starts must hear of it. A format that is newer than ours, or that can't be read,
bars only writing: the device goes on serving what it has.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from certstore import layout
from certstore.atomic import Disk
from certstore.errors import StoreCorrupt, StoreError, StoreInsecure, StoreNewer, StoreNotWritable

__all__ = ["enter", "furnish"]


def enter(root: Path, disk: Disk) -> None:
    """Make the folder if it is absent, and see that only its owner, who must be us, can enter it.

    Raises StoreInsecure, or StoreNotWritable when there is no folder and none can be made.
    """
    try:
        if not root.exists():
            root.parent.mkdir(parents=True, exist_ok=True)
            disk.make_folder(root)
        facts = root.stat()
    except OSError as error:
        raise StoreNotWritable(root, error.strerror or str(error)) from error
    if not stat.S_ISDIR(facts.st_mode):
        raise StoreNotWritable(root, "it is not a folder")
    if facts.st_uid != os.geteuid():
        raise StoreInsecure(root, facts.st_mode, owner=facts.st_uid)
    if facts.st_mode & 0o077:
        raise StoreInsecure(root, facts.st_mode)


def furnish(root: Path, disk: Disk) -> StoreError | None:
    """Make the folders that are missing, and then write FORMAT. Only under the lock.

    Gives the reason why nothing may ever be written here (None: it may). A disk that refuses now may take a
    write later, so that is no such reason, and is passed over: every later write will say so itself.
    """
    try:
        found = _format(root)
        if found is not None and found > layout.KNOWN_FORMAT:
            return StoreNewer(root, found, layout.KNOWN_FORMAT)
    except StoreCorrupt as error:
        return error
    try:
        for folder in layout.folders():
            disk.make_folder(root / folder)
        if found is None:  # last: where it stands, the folders stand
            disk.write(root / layout.FORMAT, b"%d\n" % layout.KNOWN_FORMAT)
    except StoreNotWritable:
        pass
    return None


def _format(root: Path) -> int | None:
    path = root / layout.FORMAT
    try:
        text = path.read_bytes().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreCorrupt(path, error.strerror or str(error)) from error
    if not (text.isdigit() and len(text) < 10):
        raise StoreCorrupt(path, "it holds no number")
    return int(text)
