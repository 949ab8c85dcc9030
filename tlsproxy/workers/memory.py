"""The last rung: a certificate that lies in memory only, shared by a supervisor and its workers.

Promises: key and chain stand in a memfd which each worker inherits, empty until nothing on disk can be
served; they cross no pipe, and touch no disk. It outlives a reload: the descriptor is handed over. A worker
that somebody has taken over can write to it, so what makes no sense there counts as nothing. Refuses to know
when it is needed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from certstore import Bundle, Refusal

__all__ = ["Memory"]

_MOST_BYTES: Final = 1_048_576  # a key and a chain have some KB


class Memory:
    """A memfd that all workers inherit: empty, until nothing on disk can be served. Keys cross no pipe."""

    def __init__(self, fd: int | None = None) -> None:
        """Make one, or take over that of the supervisor before us. `close` it."""
        self.fd = os.memfd_create("tlsproxy-memory", os.MFD_CLOEXEC) if fd is None else fd

    def put(self, bundle: Bundle) -> None:
        """Write key and chain, as PEM, over what was there."""
        content = bundle.key_pem() + bundle.chain_pem()
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, content, 0)

    def bundle(self) -> Bundle | None:
        """Read what is there; None for nothing of use. Any process that has inherited the descriptor may."""
        if not 0 < os.fstat(self.fd).st_size <= _MOST_BYTES:
            return None
        content = os.pread(self.fd, _MOST_BYTES, 0)
        try:
            return Bundle.from_pem(content, content)
        except (ValueError, Refusal):
            return None

    def close(self) -> None:
        """Let go of our descriptor."""
        with suppress(OSError):
            os.close(self.fd)
