"""What goes over the control socket where a certificate request is wanted, as values. Pure, as values.py."""

from __future__ import annotations

from typing import Annotated

import msgspec

from certstore import KeyType, Source, Wish
from tlsproxy.control.values import Via, decoded

__all__ = ["WishDocument", "wish_from_json", "wish_to_json"]

_SLOT_ID = "^[0-9a-f]{32}$"


class RenewalDocument(msgspec.Struct, forbid_unknown_fields=True):
    """The slot whose certificate is to get a successor."""

    source: Source
    slot: Annotated[str, msgspec.Meta(pattern=_SLOT_ID)]


class WishDocument(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be requested; what isn't said is as in the certificate that it renews, or the default.

    `subject`: common_name, organization, organizational_unit, locality, state, country; empty: left out.
    """

    names: Annotated[list[Annotated[str, msgspec.Meta(max_length=254)]], msgspec.Meta(max_length=100)] = []
    key_type: KeyType | None = None
    subject: dict[str, Annotated[str, msgspec.Meta(max_length=128)]] = {}
    renews: RenewalDocument | None = None
    same_key: bool = False
    via: Via = "api"


def wish_to_json(wish: Wish, via: str) -> dict[str, object]:
    """Give the body of POST /v1/requests."""
    document: dict[str, object] = {"names": list(wish.names), "subject": dict(wish.subject), "via": via}
    if wish.key_type is not None:
        document["key_type"] = str(wish.key_type)
    if wish.renews is not None:
        source, slot = wish.renews
        document["renews"] = {"source": str(source), "slot": slot}
    return {**document, "same_key": wish.same_key}


def wish_from_json(body: bytes) -> tuple[Wish, str]:
    """Read what `wish_to_json` gave: the wish and its `via`. Raises BadRequestError."""
    said = decoded(body, WishDocument)
    renews = (said.renews.source, said.renews.slot) if said.renews is not None else None
    return Wish(tuple(said.names), said.key_type, said.subject, renews, said.same_key), said.via
