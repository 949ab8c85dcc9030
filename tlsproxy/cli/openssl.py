"""OpenSSL's limits for the `system` engine: this process starts anew with a configuration of ours.

Why, and how it gets there: workers/spawn.py. A configuration that the user named wins;
docs/configuration.md says what it should hold besides.
"""

from __future__ import annotations

import os
import sys

from tlsproxy.tls.engines import EngineName
from tlsproxy.workers.spawn import limits_in_memory


def limit_system_engine(engine: EngineName) -> None:
    """Replace this process by itself with our limits, where `engine` means one that needs them; else return.

    Only for a process that is ours alone: whoever calls the command as a function must not call this.
    """
    if "OPENSSL_CONF" in os.environ:
        return
    file = limits_in_memory(engine)
    if file is None:
        return
    os.set_inheritable(file, True)
    environment = {**os.environ, "OPENSSL_CONF": f"/proc/self/fd/{file}"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606  ourselves, again
