"""Who is let in no more, once trust sets have changed: decided by what a connection's client has shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from certstore import StoreError, read_trust
from tlsproxy.forward.site import ClientFacts
from tlsproxy.tls.clientidentity import Acceptance

__all__ = ["refusing"]


def refusing(store: Path, trust: Mapping[str, str]) -> Callable[[ClientFacts], bool]:
    """Give who says whether a client is refused by these sets, their ids by name; reads them, so in a thread.

    A set that is gone or can't be read lets nobody in.
    """
    sets: dict[str, Acceptance] = {}
    for name, id_ in trust.items():
        try:
            sets[name] = Acceptance(read_trust(store, id_))
        except StoreError:
            continue

    def refuses(facts: ClientFacts) -> bool:
        gate = facts.gate
        if gate is None or gate.rule is None or gate.identity is None:
            return False
        held = sets.get(gate.rule.trust)
        return held is None or not held.lets_in(gate.identity)

    return refuses
