"""Trust sets as they are shown: to the API, and by `tlsproxy trust list`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from certstore import Finding, Store, StoreError, Trusted, TrustSet, found, read_generation
from tlsproxy.policy_clients import ClientAuth

__all__ = ["described", "lacking", "shown"]


def lacking(store: Path, rules: Iterable[ClientAuth]) -> Iterator[Finding]:
    """Tell of the sets that rules name and a store doesn't have, whoever holds it.

    Nothing where there is no store. Raises StoreError or OSError.
    """
    wanted = {rule.trust for rule in rules if rule.asks}
    if not wanted or not store.is_dir():
        return
    generation = read_generation(store)
    held = {one.name for one in (generation.trust if generation is not None else ())}
    for name in sorted(wanted - held):
        yield found("trust_missing", name=name)


def described(store: Store, rule_of: Callable[[str], str]) -> list[dict[str, object]]:
    """Show all sets of a store; `rule_of` says for which names one is asked. Reads the disk."""
    return [shown(one, store.trust.read, rule_of) for one in store.trust.held]


def shown(
    one: Trusted, read: Callable[[str], TrustSet | None], rule_of: Callable[[str], str]
) -> dict[str, object]:
    """Show one set; `read` gives what it holds by its name, and may raise StoreError."""
    held, error = None, ""
    try:
        held = read(one.name)
    except StoreError as trouble:
        error = str(trouble)
    return {
        "name": one.name,
        "id": one.id,
        "rule": rule_of(one.name),
        "anchors": [
            {
                "subject": anchor.subject.rfc4514_string(),
                "fingerprint": hashlib.sha256(anchor.public_bytes(Encoding.DER)).hexdigest(),
                "not_after": anchor.not_valid_after_utc.isoformat(),
            }
            for anchor in (held.anchors if held is not None else ())
        ],
        "crls": [
            {
                "issuer": crl.issuer.rfc4514_string(),
                "this_update": crl.last_update_utc.isoformat(),
                "next_update": crl.next_update_utc.isoformat() if crl.next_update_utc is not None else None,
                "revoked": len(crl),
            }
            for crl in (held.crls if held is not None else ())
        ],
        "error": error,
    }
