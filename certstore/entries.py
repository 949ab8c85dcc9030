"""Entries of the catalogue: what stands beside a finding's code.

Pure values. Refuses to know which codes there are (catalogue.py, lifecodes.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Entry", "Severity"]


class Severity(StrEnum):
    """How much a finding weighs: an error refuses, a warning is shown and kept, a note only explains."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the catalogue."""

    severity: Severity
    words: str
    hint: str
