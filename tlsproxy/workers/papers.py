"""Terms on their way to workers: in a memfd that each inherits, for they may hold keys.

Promises: all workers of one image have the same terms, whatever becomes of the files meanwhile; they cross no
pipe, and touch no disk; a worker that somebody has taken over can't change them for those that come after it.
Refuses to know what they say (terms.py), and where they come from.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from tlsproxy.terms import Terms

__all__ = ["NO_PAPERS", "Papers", "read_terms"]

_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class Papers:
    """A memfd that all workers inherit, with each upstream's terms; `fd` is -1 where none speaks TLS."""

    def __init__(self, terms: Mapping[str, Terms]) -> None:
        """Write them; `close` it. Raises OSError without descriptors."""
        self.terms = terms
        self.fd = -1
        if terms:
            self.fd = os.memfd_create("tlsproxy-terms", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            content = memoryview(msgspec.json.encode(terms))
            while content:
                content = content[os.write(self.fd, content) :]
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)

    @property
    def fds(self) -> list[int]:
        """What a worker inherits."""
        return [self.fd] if self.fd >= 0 else []

    def close(self) -> None:
        """Let go of our descriptor."""
        if self.fd >= 0:
            with suppress(OSError):
                os.close(self.fd)


NO_PAPERS = Papers({})
"""For proxies without any upstream that speaks TLS."""


def read_terms(fd: int) -> dict[str, Terms]:
    """Read the terms by upstream; a descriptor of -1 has none. Any process that has inherited it may."""
    if fd < 0:
        return {}
    return msgspec.json.decode(os.pread(fd, os.fstat(fd).st_size, 0), type=dict[str, Terms])
