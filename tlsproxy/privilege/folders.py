"""What a user is given before root is gone: the folders that the service writes to.

Promises: what is missing is made; an empty folder of root's is given away; whatever else lies there is left
alone, and a store of somebody else's is told (PrivilegeError). Refuses to know what is written there.

Theory. Root that makes folders where others may write can be led astray: between two calls a symbolic link
takes the place of a folder, and root gives away /etc. So everything is tried as the user first, who can
betray nobody but himself; what root gives is the descriptor of a folder, opened without following a link,
that is empty and root's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tlsproxy.errors import PrivilegeError
from tlsproxy.privilege.account import Account

__all__ = ["acting_as", "entrust", "make", "see_that_code_is_readable"]

_PARENT_MODE = 0o755


def entrust(store: Path, others: Sequence[tuple[Path, int]], account: Account) -> None:
    """Give a user the store (0700) and other folders, each with its mode where it is made. As root only.

    Raises PrivilegeError where the store belongs to somebody else, OSError where one can't be made.
    """
    for path, mode in ((store, 0o700), *others):
        _make(path, mode, account)
        _give(path, mode, account)
    owner = store.stat().st_uid
    if owner != account.uid:
        raise PrivilegeError(
            f"the store {store} belongs to uid {owner}, not to {account.name}",
            f"chown -R {account.uid}:{account.gid} {store}",
        )


def see_that_code_is_readable(account: Account) -> None:
    """See that the user can start our processes, and go on with this one. Raises PrivilegeError."""
    with acting_as(account):
        for file in (os.path.realpath(sys.executable), os.__file__, __file__):
            if not os.access(file, os.R_OK, effective_ids=True):
                raise PrivilegeError(
                    f"{account.name} can't read {file}, which every process of ours needs",
                    "install Python and tlsproxy where every user may read, such as /opt",
                )


@contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Be a user for a while, as far as files are concerned. As root only, with one thread."""
    groups, group = os.getgroups(), os.getegid()
    os.setgroups(account.groups)
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def make(path: Path, mode: int) -> None:
    """Make a folder unless it is there, its parents too; on the disk when this returns. Raises OSError."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=mode)
    path.chmod(mode)  # whatever the umask is
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems can't, and keep the order themselves
            os.fsync(fd)
    finally:
        os.close(fd)


def _make(path: Path, mode: int, account: Account) -> None:
    with suppress(PermissionError):
        with acting_as(account):
            make(path, mode)
        return
    for parent in reversed(path.parents):
        if not parent.exists():
            make(parent, _PARENT_MODE)
    make(path, 0o700)


def _give(path: Path, mode: int, account: Account) -> None:
    with suppress(NotADirectoryError):  # told by whoever needs the folder
        fd = os.open(path.resolve(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_uid == 0 and not os.listdir(fd):  # noqa: PTH208  by its descriptor
                os.fchown(fd, account.uid, account.gid)
                os.fchmod(fd, mode)
        finally:
            os.close(fd)
