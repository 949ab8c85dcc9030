"""The words of a factory reset: what the command line and the API take, and what is meant where none is said.

Values only; resetting.py says what follows from them.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["SCOPES", "USUAL", "Word"]

# customer: what came with him, with its keys. identity: the device's own key. audit: the audit log.
Word = Literal["customer", "identity", "audit"]
SCOPES: Final[tuple[Word, ...]] = ("customer", "identity", "audit")
# What a person means who sells the device, or gives it back. The audit log holds no names and no keys, and
# whoever looks into an attack wants it.
USUAL: Final[tuple[Word, ...]] = ("customer", "identity")
