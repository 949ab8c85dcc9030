"""What an engine can't do of a policy, in words: for `policy show`, which must not promise too much."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from typing import Literal

from tlsproxy.policy_tls import TLSPolicy, is_hybrid
from tlsproxy.tls.engines.system import has_mlkem

__all__ = ["library_of", "shortcomings"]


def library_of(engine: Literal["system", "bundled"]) -> str:
    """Give the name and version of the TLS library behind an engine."""
    if engine == "system":
        return ssl.OPENSSL_VERSION
    from OpenSSL import SSL

    return SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii")


def shortcomings(engine: Literal["system", "bundled"], policy: TLSPolicy) -> Iterator[str]:
    """Say what of `policy` this engine can't do, or does otherwise."""
    if engine == "bundled":
        if policy.tickets:
            yield "each TLS 1.3 connection gets two tickets instead of one (pyOpenSSL can't ask for fewer)"
        return
    lacking = [group for group in policy.groups if is_hybrid(group)]
    if lacking and not has_mlkem():
        yield f"{', '.join(lacking)}: not before OpenSSL 3.5; the engine bundled has them"
    if not hasattr(ssl.SSLContext, "set_groups"):
        yield "the group of a connection isn't told (not before Python 3.15)"
        if os.environ.get("OPENSSL_CONF"):
            yield "OPENSSL_CONF is set: groups and TLS 1.3 suites are what it says, not what stands here"
    yield "OCSP answers aren't stapled (Python's ssl has no way to it); the engine bundled does"
    if not policy.is_tls13_only:
        yield "clients of TLS 1.2 without tickets resume by a number (Python can't switch it off)"
