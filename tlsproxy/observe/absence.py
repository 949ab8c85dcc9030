"""A library kept from another one, which would take it along wherever it is installed.

Some libraries import a second one at their first moment if they find it, whether or not it will be used, and
have no switch for that; a process that lives for years then holds it for nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["absent"]


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Let `import name` fail in the block as if it weren't installed; one that was imported before stays.

    For the head of a module, where nobody else imports meanwhile. None in sys.modules means just that (the
    Python language reference, section 5.3.1).
    """
    if name in sys.modules:
        yield
        return
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]  # typeshed leaves the None out
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
