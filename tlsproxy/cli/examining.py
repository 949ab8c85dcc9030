"""The examiner of a command that looks into files itself, because no proxy runs on the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsproxy.cli.places import Whereabouts, compared

if TYPE_CHECKING:
    from certstore import Examiner, Store

__all__ = ["examiner_here"]


def examiner_here(place: Whereabouts, store: Store) -> Examiner:
    """Give one that judges as the proxy of that place would, by its configuration; in this process."""
    from certstore import InProcess, Reference
    from tlsproxy.completing import completing
    from tlsproxy.config.values import ChecksConfig, TLSConfig
    from tlsproxy.tls.gate import HandshakeGate

    tls = place.tls or TLSConfig()
    examiner = InProcess(HandshakeGate(tls.policy, tls.engine), Reference.open(compared(place)))
    checks = place.configured.checks if place.configured is not None else ChecksConfig()
    return completing(checks, store, examiner)
