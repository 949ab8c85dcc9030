"""Writers: whether somebody is still writing to a file.

A copy that stalls looks like a file that is done. The kernel knows better: it grants a read lease only on a
file that nobody has open for writing (fcntl(2), F_SETLEASE).

What could go wrong, and why it is done this way:

- *Somebody opens the file for writing while we hold the lease*: the kernel makes him wait, and sends us
  SIGIO, which ends a process by default. So the signal is changed to SIGURG, which is ignored by default,
  before the lease is taken, and the lease is given back at once.
- *The lease can't be had for another reason* (not our file and no CAP_LEASE, a network file system): then
  nothing is known, and the answer is no.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

__all__ = ["has_writer"]

_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def has_writer(path: Path) -> bool:
    """Say whether a process has this regular file open for writing, as far as that can be known."""
    try:
        descriptor = os.open(path, _FILE)
    except OSError:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    else:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    finally:
        os.close(descriptor)
