"""The examples at the end of every command's `--help`."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Make an epilog of command lines, one below the other; click's mark keeps it from filling them."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
