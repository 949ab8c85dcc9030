"""What a process gives up before it looks into strangers' files.

Promises: after `confine` the process can take no more memory, CPU time and descriptors than policy.py allows
it, start no other process where the system can forbid that, and write no large file; no other process of the
same user can read it. After `leave_network` it has no network, where the system allows that.
Each is tried for itself; what this system lacks or forbids is passed over.

Theory: what is ensured, and what is not. The limits hold everywhere: Linux keeps them for every process,
root's too, but for the number of processes, which root may exceed. A network namespace of its own wants user
namespaces, which some distributions keep from programs without a profile; then a process that hostile
files have taken over could still open a connection. It could read what our user can read, and send signals
to what our user runs: this is a fence around accidents and around the price of a file, not yet a sandbox.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from typing import Final

from tlsproxy import policy

__all__ = ["address_space", "confine", "give_memory_back", "leave_network"]

# linux/prctl.h, linux/sched.h: none of them has a name in Python 3.11.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

_libc = ctypes.CDLL(None)


def leave_network() -> None:
    """Move into an empty network namespace. Costs a few ms; what is forked from here has none either."""
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def give_memory_back() -> None:
    """Return what was freed to the system, as far as it lies in whole pages (malloc_trim(3); glibc only)."""
    _call("malloc_trim", 0)


def address_space() -> int:
    """Tell how much of it this process has now, in bytes (proc(5), statm)."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  a moment before each fork: be quick
        return int(file.read().split()[0]) * resource.getpagesize()


def confine(parent: int, size: int) -> None:
    """Limit this process, a fork of `parent` whose address space is `size`; it ends with that one, or now."""
    _call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    limits = {
        resource.RLIMIT_AS: size + policy.EXAMINATION_MEMORY_BYTES,
        resource.RLIMIT_FSIZE: policy.EXAMINATION_FILE_BYTES,
        resource.RLIMIT_NOFILE: policy.EXAMINATION_DESCRIPTORS,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    seconds = int(policy.EXAMINATION_S)
    with suppress(OSError, ValueError):  # a second between the two, or SIGKILL comes and not SIGXCPU
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for kind, limit in limits.items():
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, limit))


def _call(name: str, *arguments: int) -> None:
    """Ask libc for something that it may lack (musl, old kernels), or not be allowed to give."""
    function = getattr(_libc, name, None)
    if function is not None:
        function(*(ctypes.c_ulong(argument) for argument in arguments))
