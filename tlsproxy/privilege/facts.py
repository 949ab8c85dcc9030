"""What confines a process, as the kernel tells it: who it is, what it may, which fences stand.

Promises: asked of this very process, never taken from what was meant; works without /proc. Refuses to know
what ought to be on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tlsproxy.privilege import capabilities
from tlsproxy.privilege.landlock import Verdict
from tlsproxy.privilege.libc import prctl

__all__ = ["Confined", "look"]

_PR_GET_DUMPABLE: Final = 3
_PR_GET_SECCOMP: Final = 21
_PR_GET_NO_NEW_PRIVS: Final = 39


@dataclass(frozen=True, slots=True)
class Confined:
    """The facts of one process. landlock: the ABI that confines it, 0 for none, then `landlock_why`."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: tuple[str, ...]
    no_new_privs: bool
    dumpable: bool
    seccomp: bool
    landlock: int
    landlock_why: str = ""

    @property
    def words(self) -> str:
        """Say it to a person, in one line."""
        held = self.capabilities
        some = ", ".join(held) if len(held) < 4 else f"{len(held)} of them"
        parts = [
            f"uid {self.uid}",
            f"capabilities: {some or 'none'}",
            "no new privileges" if self.no_new_privs else "NEW PRIVILEGES POSSIBLE",
            self.landlock_words,
            "seccomp" if self.seccomp else "no seccomp",
        ]
        return "; ".join(parts)

    @property
    def landlock_words(self) -> str:
        """Say which ABI confines it, or why none does."""
        return f"Landlock {self.landlock}" if self.landlock else f"no Landlock ({self.landlock_why})"


def look(landlock: Verdict) -> Confined:
    """Look at this process; `landlock` is what came of entering it, which the kernel tells nobody later."""
    return Confined(
        pid=os.getpid(),
        uid=os.geteuid(),
        gid=os.getegid(),
        groups=tuple(sorted(os.getgroups())),
        capabilities=capabilities.held(),
        no_new_privs=_asked(_PR_GET_NO_NEW_PRIVS),
        dumpable=_asked(_PR_GET_DUMPABLE),
        seccomp=_asked(_PR_GET_SECCOMP),
        landlock=landlock.abi,
        landlock_why=landlock.why,
    )


def _asked(option: int) -> bool:
    with suppress(OSError):
        return prctl(option) != 0
    return False
