"""A file that only its owner can read, opened for appending; never what a link leads to."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["open_private"]

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MODE: Final = 0o600


def open_private(path: Path, *, make: bool = False) -> int:
    """Give a descriptor, which the caller closes; make: where the file isn't there.

    Raises OSError, also where it is no plain file of this user's, with mode 0600 at most.
    """
    fd = os.open(path, _FLAGS | (os.O_CREAT if make else 0), _MODE)
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        os.close(fd)
        raise PermissionError("it must be a plain file of the proxy's user, with mode 0600")
    return fd
