"""A configuration file's bytes on their way from a pre-flight to the image that it was made for.

Promises: a new image reads exactly what its pre-flight has found good. Refuses to know what is in it.

Theory. Between a pre-flight and the exec lie moments, or as long as a change of the store takes, and in them
somebody may save the file once more, or be in the midst of it. A new image that reads it then ends on a
mistake that nobody has checked, and with it everything that was handed over. So the supervisor gives the
pre-flight an empty file in memory; who has read a file puts it there once all has gone well; and the new
image finds it by its environment. An older or newer version that knows nothing of this reads the file itself.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, MutableMapping
from typing import Final

__all__ = ["ENVIRONMENT", "find", "make", "named", "put", "seal", "take"]

ENVIRONMENT: Final = "TLSPROXY_CHECKED"
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def make() -> int:
    """Make an empty one; the caller closes it. Raises OSError."""
    return os.memfd_create("tlsproxy-configuration", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def named(fd: int) -> Mapping[str, str]:
    """Give the environment's entry for one."""
    return {ENVIRONMENT: str(fd)}


def find(environment: MutableMapping[str, str]) -> int | None:
    """Give the one that this process was given, which is told of it no more; None for none."""
    told = environment.pop(ENVIRONMENT, "")
    return int(told) if told.isdigit() else None


def put(fd: int, content: bytes) -> None:
    """Fill an empty one, and close it. Raises OSError."""
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def seal(fd: int) -> bool:
    """Let nobody change it any more; False where it is empty, and so of no use. Raises OSError."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return os.fstat(fd).st_size > 0


def take(fd: int) -> bytes:
    """Read it, and close it; an empty one, which waits for `put`, stays open."""
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    if content:
        os.close(fd)
    return content
