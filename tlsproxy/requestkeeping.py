"""Requests as time goes by: what waited in vain goes, and what ends gets its successor asked for.

Promises: each is told once, when it is done. Refuses to know how a request is made and kept (certstore), and
who is told.
"""

from __future__ import annotations

from certstore import Request, Store, StoreError, found
from tlsproxy.authoritykeeping import Tell

__all__ = ["keep_requests", "request_facts"]


def keep_requests(store: Store, tell: Tell) -> None:
    """Do what is due; an RSA key takes seconds. Raises StoreError or Refusal; the next turn tries again."""
    for request in store.requests.expire():
        facts = {"names": _names(request), "made_at": f"{request.made_at:%Y-%m-%d}"}
        tell("expire_request", request_facts(request), found("request_expired", id=request.id, **facts))
    request_or_none = store.requests.prepare()
    if request_or_none is not None:
        request = request_or_none
        until = {"names": _names(request), "not_after": _end_of(store, request.renews)}
        tell("prepare_request", request_facts(request), found("request_prepared", id=request.id, **until))


def request_facts(request: Request) -> dict[str, object]:
    """Give what the audit log tells of a request."""
    facts: dict[str, object] = {"request": request.id, "names": list(request.wanted.names)}
    return {**facts, "spki": request.spki, "renews": request.renews, "via": request.via}


def _names(request: Request) -> str:
    return ", ".join(request.wanted.names)


def _end_of(store: Store, bundle: str | None) -> str:
    try:
        return f"{store.meta(bundle or '').facts.not_after:%Y-%m-%d %H:%M} UTC"
    except StoreError:
        return "a day not known"  # it went while its successor was asked for
