"""The last rung: a certificate that lies in memory only, shared by a supervisor and its workers.

Promises: key and chain stand in a memfd which each worker inherits, empty until nothing on disk can be
served; they cross no pipe, and touch no disk. It outlives a reload: the descriptor is handed over. Refuses to
know when it is needed.
"""

from __future__ import annotations

import os
from contextlib import suppress

from certstore import Bundle

__all__ = ["Memory"]


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
        """Read what is there; None where it is empty. Any process that has inherited the descriptor may."""
        content = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
        return Bundle.from_pem(content, content) if content else None

    def close(self) -> None:
        """Let go of our descriptor."""
        with suppress(OSError):
            os.close(self.fd)
