"""Commands that a configuration names: a program's path, and the words behind it. No shell reads them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["why_unfit"]


def why_unfit(command: Sequence[str]) -> str:
    """Say why these words can be no command; "" where they can, or where none is named."""
    if command and not command[0].startswith("/"):
        return f"{command[0]!r} is no absolute path: nothing is looked for, and no shell reads it"
    if any("\0" in word for word in command):
        return "a word of a command holds NUL (\\u0000), which no program can be given"
    return ""
