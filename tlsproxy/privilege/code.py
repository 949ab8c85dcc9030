"""Where our own code lies, for processes that may read little else.

Promises: what is imported later, or loaded by libc (name services, TLS providers), is found there too.
Refuses to know of stores: a source tree that also holds somebody's store is not given, only its packages.
"""

from __future__ import annotations

import sys
import sysconfig

__all__ = ["RESOLVER", "folders"]

# Shared libraries that libc and OpenSSL load by themselves; distributions differ in which there are.
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store")
_SCHEMES = ("stdlib", "platstdlib", "purelib", "platlib")

RESOLVER = ("/etc", "/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf", "/run/nscd")
"""What getaddrinfo(3) reads. Folders, since others replace the files in them while we run."""


def folders() -> frozenset[str]:
    """Give the standard library, what is installed beside it, and each package that is loaded now."""
    found = {sysconfig.get_path(name) for name in _SCHEMES}
    for name, module in list(sys.modules.items()):
        if "." not in name:
            found.update(map(str, getattr(module, "__path__", ())))
    return frozenset(path for path in (*found, *_LIBRARIES) if path)
