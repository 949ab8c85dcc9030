"""Folders of records, each with an id of 8 hex digits: what accounts and orders have in common."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

__all__ = ["RECORD_ID", "names_in", "why_unreadable"]

RECORD_ID: Final = re.compile(r"[0-9a-f]{8}")


def names_in(folder: Path) -> list[str]:
    """Give the ids that lie there; nothing where there is no folder yet."""
    try:
        return sorted(name for name in os.listdir(folder) if RECORD_ID.fullmatch(name))  # noqa: PTH208
    except OSError:
        return []


def why_unreadable(error: Exception) -> str:
    """Say why a file can't be read, without its path, which stands beside it."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
