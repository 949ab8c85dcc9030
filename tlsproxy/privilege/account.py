"""Whom to be: the user that a root start ends as.

Promises: who was named wins; else the store's owner, since files of another user would lock one of them
out; else root where it was asked for as unsafe; else the system user `tlsproxy`, where there is one and the
store is new. With nobody to become we stay root, which is told: a device whose makers forgot a user is
better served by a warning than by a port that nobody opens. Not started as root, we stay who we are.
Refuses to know how to become somebody.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from tlsproxy.errors import PrivilegeError

__all__ = ["Account", "choose", "named", "owner_of", "usual"]

_USUAL = "tlsproxy"


@dataclass(frozen=True, slots=True)
class Account:
    """A user with its group, and the further groups that the system says it is in."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def choose(user: str, group: str, store: Path, *, unsafe_as_root: bool) -> Account | None:
    """Say whom to become; None for staying who we are. Raises PrivilegeError."""
    wanted = named(user, group) if user else None
    if os.geteuid() != 0:
        if wanted is not None and not _is_us(wanted, is_group_named=bool(group)):
            raise PrivilegeError(
                f"only root can become the user {user}, and this is uid {os.geteuid()}",
                "start it as root or as that user, or leave `user` out; a change of it wants a restart",
            )
        return None
    if wanted is not None:
        if wanted.uid == 0:
            raise PrivilegeError("the user to become is root", "name another; --unsafe-as-root stays root")
        return wanted
    owner = owner_of(store)
    if owner is not None or unsafe_as_root:
        return owner
    return usual(store)


def named(user: str, group: str = "") -> Account:
    """Find a user, and a group other than its own, by name or number. Raises PrivilegeError."""
    gid = None
    if group:
        try:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise PrivilegeError(f"there is no group {group}", f"groupadd --system {group}") from None
    try:
        found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if user.isdecimal():  # files may belong to a number that nobody has
            return _nameless(int(user), gid)
        hint = f"make it: useradd --system --shell /usr/sbin/nologin {user}"
        raise PrivilegeError(f"there is no user {user}", hint) from None
    main = found.pw_gid if gid is None else gid
    return Account(found.pw_name, found.pw_uid, main, tuple(os.getgrouplist(found.pw_name, main)))


def _is_us(wanted: Account, *, is_group_named: bool) -> bool:
    """Whether there is nothing to become; a service manager may have given the user another group."""
    return wanted.uid == os.geteuid() and (not is_group_named or wanted.gid == os.getegid())


def owner_of(store: Path) -> Account | None:
    """Give the owner of a folder; None where that is root, or there is no folder."""
    try:
        facts = store.stat()
    except OSError:
        return None
    if facts.st_uid == 0:
        return None
    try:
        found = pwd.getpwuid(facts.st_uid)
    except KeyError:
        return _nameless(facts.st_uid, facts.st_gid)
    return named(found.pw_name)


def _nameless(uid: int, gid: int | None) -> Account:
    main = uid if gid is None else gid
    return Account(str(uid), uid, main, (main,))


def usual(store: Path) -> Account | None:
    """Give the system user `tlsproxy` for a store that is new; None where something lies there already."""
    try:
        is_new = not any(store.iterdir())
    except OSError:
        is_new = not store.exists()
    try:
        return named(_USUAL) if is_new else None
    except PrivilegeError:
        return None
