"""A new file for its maker alone: what `backup` and `support` write."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tlsproxy.errors import UsageError

__all__ = ["write_new"]


def write_new(file: Path, content: bytes) -> None:
    """Write a new file that only we can read (0600), whole or not at all.

    Raises UsageError where there is one of this name, even a link to nowhere; OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(file, flags, 0o600)
    except FileExistsError:
        raise UsageError(f"{file} exists already", "name another file, or remove that one") from None
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
    except BaseException:
        with suppress(OSError):
            file.unlink()
        raise
