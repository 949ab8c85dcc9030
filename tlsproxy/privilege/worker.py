"""The fences around processes that strangers' bytes reach: workers, and whoever looks into their files.

Promises: afterwards a worker has no capability, reads certificates and code and nothing else, writes and
executes nothing, binds no TCP port, connects to the upstreams' ports only, and sends no signal. One that
hostile bytes have taken over still has what its memory holds: the keys of the certificates that it serves.
Refuses to know what they do.

Theory. Reading is allowed by folder, so what is renamed into `bundles/` later is seen; `authority/`, the
receipts and the configuration lie elsewhere. Descriptors that were inherited stay as they were: sockets,
stderr, the memfd of the last rung. A name among the upstreams costs a reader's right to /etc, since glibc
reads five files there that others replace by renaming; the usual permissions still guard what is secret
there. UNIX sockets are not restricted by Landlock before ABI 9: their own permissions are.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tlsproxy.privilege import capabilities, code, facts, landlock
from tlsproxy.privilege.facts import Confined
from tlsproxy.privilege.landlock import READ, Files, Rules
from tlsproxy.privilege.libc import prctl

__all__ = ["Needs", "give_up_all_but", "hide_memory"]

_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_DNS_PORT: Final = 53  # answers that are too large for a datagram come by TCP (RFC 7766)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a process must still reach: folders to read, files to append to, TCP ports, names to resolve."""

    reads: Iterable[str] = ()
    appends: Iterable[str] = ()
    ports: Iterable[int] = ()
    resolves: bool = False


def give_up_all_but(needs: Needs) -> Confined:
    """Give up all power but that, for good; gives what is really on. While this process has one thread."""
    assert threading.active_count() == 1, "a fence is a thread's own: enter it before others start"
    hide_memory()
    capabilities.close_bounding()
    capabilities.hold_only()
    with suppress(OSError):
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
    reads = {*needs.reads, *code.folders(), *(code.RESOLVER if needs.resolves else ())}
    rules = Rules(
        handled=~Files(0),
        paths={**dict.fromkeys(reads, READ), **dict.fromkeys(needs.appends, Files.WRITE_FILE)},
        tcp={*needs.ports, *((_DNS_PORT,) if needs.resolves else ())},
        alone=True,
    )
    return facts.look(landlock.enter(rules))


def hide_memory() -> None:
    """Keep this process's memory, keys and all, from core files and from others of the same user.

    /proc/PID then belongs to root (proc(5)); an exec undoes that.
    """
    with suppress(OSError):
        prctl(_PR_SET_DUMPABLE, 0)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
