"""Files that the configuration names: read whole, within a bound, and never waited for.

Promises: a pipe that nobody writes to holds up nobody, a device is no file, and what is too large is refused
instead of cut. Refuses to know what stands in them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["read_named"]


def read_named(path: Path, most_bytes: int) -> bytes:
    """Give all that a file has. Raises OSError; ValueError, with words for a person, where it is no file.

    The same where it has more than `most_bytes`.
    """
    with open(path, "rb", opener=_open_at_once) as file:  # Path.open takes no opener
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is no file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path} is larger than {most_bytes} bytes")
    return content


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
