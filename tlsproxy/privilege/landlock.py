"""Landlock (landlock(7)): a fence that a process puts around itself, and can't take away again.

Promises: `enter` forbids what the rules don't allow, as far as this kernel knows how, and says which ABI it
has; a kernel without Landlock is an answer, not an error. Three system calls; no library is needed for them.
Refuses to know what is to be allowed.

Theory. A right that is *handled* is forbidden but where a rule allows it; one that isn't handled stays as it
was. Rules hold for the files and folders that lie at their paths *now* (inodes, not names), with all below:
what replaces a folder later is outside. Descriptors that are open keep what they could. Reaching a UNIX
socket by its path is not restricted. Moving a file between folders is special (REFER): with ABI 1 it is
forbidden, whatever is handled; so is a new mount in any case.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Final

from tlsproxy.privilege.libc import prctl, syscall

__all__ = ["READ", "WRITE", "Files", "Rules", "Verdict", "abi", "enter"]

# The numbers are the same on every architecture (but alpha): asm-generic/unistd.h.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION: Final = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1, 2
_PR_SET_NO_NEW_PRIVS: Final = 38


class Files(IntFlag):
    """Rights over files and folders: LANDLOCK_ACCESS_FS_* of linux/landlock.h."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # ABI 2
    TRUNCATE = 1 << 14  # ABI 3
    IOCTL_DEV = 1 << 15  # ABI 5


READ: Final = Files.READ_FILE | Files.READ_DIR
WRITE: Final = ~(READ | Files.EXECUTE | Files.IOCTL_DEV)
_OF_FILES: Final = (
    Files.EXECUTE | Files.WRITE_FILE | Files.READ_FILE | Files.TRUNCATE | Files.IOCTL_DEV
)  # the others are rights over folders
_SINCE: Final = {Files.REFER: 2, Files.TRUNCATE: 3, Files.IOCTL_DEV: 5}
_TCP_SINCE, _SCOPES_SINCE = 4, 6


@dataclass(frozen=True, slots=True)
class Rules:
    """What is forbidden (`handled`), and what is allowed all the same.

    paths: rights beneath a file or folder; one that isn't there gets none. tcp: None leaves TCP alone; else
    connections go to these ports only, and nothing is bound. alone: no signal and no abstract UNIX socket
    leads out of here.
    """

    handled: Files
    paths: Mapping[str, Files] = field(default_factory=dict)
    tcp: Iterable[int] | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ABI that confines us, 0 for none; then `why` says why not."""

    abi: int
    why: str = ""


def abi() -> Verdict:
    """Ask the kernel."""
    try:
        return Verdict(syscall(_CREATE_RULESET, None, 0, _ASK_VERSION))
    except OSError as error:
        return Verdict(0, _REASONS.get(error.errno or 0, (error.strerror or "").lower()))


def enter(rules: Rules) -> Verdict:
    """Confine this thread, and whatever it will start, for good. Sets no_new_privs. Never raises."""
    found = abi()
    if not found.abi:
        return found
    if found.abi == 1 and any(rights & Files.REFER for rights in rules.paths.values()):
        return Verdict(0, "this kernel's Landlock (ABI 1) forbids to move files between folders")
    try:
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _restrict(rules, found.abi)
    except OSError as error:
        why = "16 domains surround this process already" if error.errno == errno.E2BIG else error.strerror
        return Verdict(0, f"it can't be entered: {why}")
    return found


def _restrict(rules: Rules, version: int) -> None:
    known = Files(sum(right for right in Files if _SINCE.get(right, 1) <= version))
    handled = rules.handled & known
    tcp = _BIND_TCP | _CONNECT_TCP if rules.tcp is not None and version >= _TCP_SINCE else 0
    scopes = _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL if rules.alone and version >= _SCOPES_SINCE else 0
    attributes = struct.pack("=QQQ", handled, tcp, scopes)
    ruleset = syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, rights in rules.paths.items():
            with suppress(FileNotFoundError, PermissionError, NotADirectoryError):
                _allow(ruleset, path, rights & handled)
        for port in set(rules.tcp or ()) if tcp else ():
            syscall(_ADD_RULE, ruleset, _NET_PORT, struct.pack("=QQ", _CONNECT_TCP, port), 0)
        syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: Files) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_FILES
        if rights:
            syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)


_REASONS: Final = {
    errno.ENOSYS: "the kernel has none",
    errno.EOPNOTSUPP: "it is switched off in the kernel",
    errno.EPERM: "a filter of system calls forbids it",
}
