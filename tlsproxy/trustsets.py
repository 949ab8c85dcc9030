"""Trust sets as they are shown: to the API, and by `tlsproxy trust list`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding

from certstore import Store, StoreError, Trusted, TrustSet

__all__ = ["described", "shown"]


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
