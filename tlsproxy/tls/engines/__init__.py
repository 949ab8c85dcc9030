"""The engines' door: contexts from bundles, by either TLS library; the only makers of contexts.

Refuses to know names, sockets and generations. Each library is imported at its first use, so that a process
that needs one doesn't carry the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines.port import (
    Context,
    ContextError,
    Data,
    Engine,
    EngineLacks,
    TLSBroken,
    TLSFacts,
    reason_of,
)

if TYPE_CHECKING:
    from certstore import Bundle
    from tlsproxy.tls.asking import Asking
    from tlsproxy.tls.keylog import KeyLog

__all__ = [
    "Context",
    "ContextError",
    "Data",
    "Engine",
    "EngineLacks",
    "EngineName",
    "TLSBroken",
    "TLSFacts",
    "load",
    "make_context",
    "reason_of",
    "resolve",
]

EngineName = Literal["auto", "system", "bundled"]


def resolve(engine: EngineName, policy: TLSPolicy) -> Literal["system", "bundled"]:
    """Say which engine is meant here: "auto" is `system` where it has ML-KEM (OpenSSL 3.5).

    Raises EngineLacks where `system` is asked for, and the policy has only groups that it lacks.
    """
    if engine == "bundled":
        return "bundled"
    import ssl

    from tlsproxy.tls.engines.system import has_mlkem

    if engine == "auto":
        return "system" if has_mlkem() else "bundled"
    if policy.needs_hybrid and not has_mlkem():
        raise EngineLacks(ssl.OPENSSL_VERSION, policy.groups)
    return "system"


def load(engine: EngineName, policy: TLSPolicy) -> None:
    """Import the library that `engine` means, for who can't later."""
    if resolve(engine, policy) == "system":
        import tlsproxy.tls.engines.system
    else:
        import tlsproxy.tls.engines.bundled  # noqa: F401  for its being there


def make_context(
    bundle: Bundle,
    policy: TLSPolicy,
    engine: EngineName = "auto",
    asking: Asking | None = None,
    staple: Callable[[], bytes] | None = None,
    key_log: KeyLog | None = None,
) -> Context:
    """Make a context that serves `bundle`; ContextError where the library refuses it.

    Takes a millisecond or two and no event loop: call it in a worker thread. Each call gives a fresh context
    with ticket keys of its own, so that nothing of another context is ever resumed (RFC 8446 section 4.6.1).
    staple: gives, in each handshake that asks for one, the OCSP answer, b"" for none; `system` can't staple.
    key_log: where the secrets of its sessions are written.
    """
    if resolve(engine, policy) == "system":
        from tlsproxy.tls.engines.system import SystemContext

        return SystemContext(bundle, policy, asking, key_log)
    from tlsproxy.tls.engines.bundled import BundledContext

    return BundledContext(bundle, policy, asking, staple, key_log)
