"""Calls of libc and the kernel that Python 3.11 has no name for.

Promises: arguments as the manual pages have them; what the system refuses is an OSError with its errno, and
what libc lacks is ENOSYS. Refuses to know what the calls are good for.
"""

from __future__ import annotations

import ctypes
import errno
import os

__all__ = ["call", "prctl", "syscall"]

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | ctypes.Array[ctypes.c_char] | bytes | None) -> int:
    """Call a function that gives -1 for an error; bytes and buffers go as pointers. Raises OSError."""
    function = getattr(_libc, name, None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name)
    given = int(function(*(ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments)))
    if given == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return given


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    """Set or ask something about this thread or process (prctl(2)). Raises OSError."""
    return call("prctl", option, first, second, 0, 0)


def syscall(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call that libc has no function for (syscall(2)). Raises OSError."""
    return call("syscall", number, *arguments)
