"""What this very process runs on: the versions that are loaded, not those that lie on the disk by now.

Promises: after an upgrade of the package, and before the reload, it still tells the old ones, since every
fact is asked of what was loaded at the start. That is the proof that a fix has arrived, or has not
(docs/supply-chain.md).
"""

from __future__ import annotations

import platform
import ssl

import cryptography
from cryptography.hazmat.backends.openssl.backend import backend

from tlsproxy.config.values import TLSConfig
from tlsproxy.observe.status import Software
from tlsproxy.tls.engines import resolve

__all__ = ["loaded"]


def loaded(tls: TLSConfig | None = None) -> Software:
    """Say what is loaded; tls: as configured, for the engine to be told as what it means here.

    pyOpenSSL, our host of the `bundled` engine, calls the OpenSSL that cryptography brings: it is the same.
    """
    tls = tls or TLSConfig()
    return Software(
        python=platform.python_version(),
        cryptography=cryptography.__version__,
        engine=resolve(tls.engine, tls.policy),
        openssl_system=ssl.OPENSSL_VERSION,
        openssl_bundled=backend.openssl_version_text(),
    )
