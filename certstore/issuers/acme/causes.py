"""Why a request over the network failed, in words that a person can use.

Pure. Promises: what the system or the TLS library said is found below whatever was raised on top of it: the
HTTP library's own words are often empty. Refuses to know who was asked.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

__all__ = ["is_untrusted", "why_of"]


def is_untrusted(error: Exception) -> bool:
    """Say whether it failed since the other's certificate isn't trusted; `why_of` says why then."""
    return any(isinstance(one, ssl.SSLCertVerificationError) for one in _causes(error))


def why_of(error: Exception) -> str:
    """Say why it failed."""
    causes = tuple(_causes(error))
    for one in causes:
        if isinstance(one, ssl.SSLCertVerificationError):
            return one.verify_message
    system = next((words for one in causes if isinstance(one, OSError) and (words := _of_system(one))), None)
    return system or next((str(one) for one in causes if str(one)), type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Go down to what the system said.

    Where each of several addresses has failed, the first one's reason stands for all (trio gives a group).
    """
    while error is not None:
        yield error
        several = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        error = several[0] if several else error.__cause__ or error.__context__


def _of_system(error: OSError) -> str | None:
    """Give the system's own words: trio writes the address before them."""
    if error.errno is None or error.errno <= 0 or isinstance(error, ssl.SSLError):  # numbered otherwise
        return error.strerror
    return os.strerror(error.errno)
