"""The supervisor's way down: from root to a user, and behind a fence that lets it write only its own.

Promises: `settle` returns with the user, the capabilities and the fence that will hold to the end of this
process, reloads included; a step that was refused where it matters raises PrivilegeError, and nothing is
served. Refuses to know what the folders are for.

Theory. *No way back*: all three uids and gids change, so there is no saved one; root's groups and the
bounding set go; then it is tried whether root can be had again. *Ports*: a reuse-port group takes in only
sockets of the user who opened it, so root's sockets are given to the user, and more workers can open more of
them after a reload. Ports below 1024 can't be opened any more: started as root, nothing of root is kept. A
service manager that gives CAP_NET_BIND_SERVICE means it, so that one stays with the supervisor; workers drop
it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tlsproxy.errors import PrivilegeError
from tlsproxy.privilege import capabilities, facts, landlock
from tlsproxy.privilege.account import Account
from tlsproxy.privilege.facts import Confined
from tlsproxy.privilege.folders import entrust, make, see_that_code_is_readable
from tlsproxy.privilege.landlock import WRITE, Files, Rules, Verdict
from tlsproxy.privilege.libc import prctl
from tlsproxy.privilege.privatefile import open_private
from tlsproxy.privilege.worker import hide_memory

__all__ = ["Belongings", "Kept", "become", "settle"]

_PR_SET_NO_NEW_PRIVS: Final = 38
_UMASK: Final = 0o077
# Processes are started with their standard input from there, which subprocess opens for writing too.
_NULL: Final = "/dev/null"
# Beside the store: who is in the user's group may ask, and drop files without seeing those of others.
_RUNTIME_MODE, _INBOX_MODE = 0o750, 0o1730
# Where others are named who may ask: the socket in it has a mode of its own, and asks who it is.
_SHARED_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Belongings:
    """The folders that a supervisor writes to; is_shared: others may ask in `runtime`.

    key_log: a file that its workers write to.
    """

    store: Path
    runtime: Path
    inbox: Path
    is_shared: bool = False
    key_log: Path | None = None

    @property
    def beside_the_store(self) -> Sequence[tuple[Path, int]]:
        """Give those that aren't in the store, with their modes; what is in it is made by its owner."""
        both = ((self.runtime, _SHARED_MODE if self.is_shared else _RUNTIME_MODE), (self.inbox, _INBOX_MODE))
        return [(path, mode) for path, mode in both if not path.is_relative_to(self.store)]

    def make(self) -> None:
        """Make what isn't there, as who we are: a fence has no room for what is missing.

        What can't be made is told by who needs it; but for the key log. Raises PrivilegeError.
        """
        if self.key_log is not None:
            _make_key_log(self.key_log)
        for path in (self.store, self.runtime, self.inbox):
            if path is not self.inbox or path.parent.exists():
                with suppress(OSError):
                    make(path, _SHARED_MODE if self.is_shared and path is self.runtime else 0o700)

    @property
    def paths(self) -> tuple[str, ...]:
        """Give all, as text."""
        files = (self.key_log,) if self.key_log is not None else ()
        return tuple(map(str, (self.store, self.runtime, self.inbox, *files)))


@dataclass(frozen=True, slots=True)
class Kept:
    """What can't be asked of the kernel later, and holds over a reload.

    was_root: ports were opened by root. writes: the folders that may be written, None for all.
    """

    was_root: bool
    landlock: int
    landlock_why: str
    writes: tuple[str, ...] | None

    @classmethod
    def nothing(cls, why: str) -> Kept:
        """Say that nothing was done, and why."""
        return cls(was_root=False, landlock=0, landlock_why=why, writes=None)

    @property
    def confined(self) -> Confined:
        """Look at this process now."""
        return facts.look(Verdict(self.landlock, self.landlock_why))

    def may_write(self, path: Path) -> bool:
        """Say whether the fence leaves room for writing there."""
        return self.writes is None or any(path.is_relative_to(folder) for folder in self.writes)


def settle(
    account: Account | None,
    belongings: Belongings,
    sockets: Iterable[socket.socket],
    before: Kept | None,
) -> Kept:
    """Become `account` (None: stay), and enter the fence; `before`: what the image before a reload kept.

    Raises PrivilegeError, or OSError where a folder can't be made. While this process has one thread.
    """
    assert threading.active_count() == 1, "a fence is a thread's own: enter it before others start"
    if account is not None:
        see_that_code_is_readable(account)
        entrust(belongings.store, belongings.beside_the_store, account)
        for sock in sockets:
            os.fchown(sock.fileno(), account.uid, account.gid)
        become(account)
    elif os.geteuid() != 0:
        capabilities.hold_only([capabilities.NET_BIND_SERVICE])
    os.umask(_UMASK)
    hide_memory()
    with suppress(OSError):
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if before is not None:
        return before
    verdict = _fence(belongings)
    return Kept(account is not None, verdict.abi, verdict.why, belongings.paths if verdict.abi else None)


def become(account: Account) -> None:
    """Be a user, for good, and have nothing of root's power any more. Raises PrivilegeError."""
    ids = (account.uid, account.uid, account.uid), (account.gid, account.gid, account.gid)
    capabilities.close_bounding()
    try:
        os.setgroups(account.groups)
        os.setresgid(*ids[1])
        os.setresuid(*ids[0])
    except OSError as error:
        raise PrivilegeError(
            f"can't become the user {account.name}: {(error.strerror or '').lower()}",
            "root needs CAP_SETUID and CAP_SETGID for that; or start it as that user",
        ) from error
    capabilities.hold_only()
    if (os.getresuid(), os.getresgid()) != ids or _may_return() or capabilities.held():
        raise PrivilegeError("root's power could not be given up", f"start it as {account.name}")


def _may_return() -> bool:
    with suppress(PermissionError):
        os.setuid(0)
        return True
    return False


def _make_key_log(path: Path) -> None:
    try:
        os.close(open_private(path, make=True))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise PrivilegeError(
            f"the key log {path} can't be written: {why}", "see [tls] unsafe_key_log"
        ) from error


def _fence(belongings: Belongings) -> Verdict:
    """Forbid writing but to our own folders; reading stays free (see the package's theory)."""
    belongings.make()
    rights = dict.fromkeys(belongings.paths, WRITE)
    return landlock.enter(Rules(handled=WRITE, paths={**rights, _NULL: WRITE & ~Files.REFER}))
