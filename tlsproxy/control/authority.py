"""The device's own authority: what it may sign for, and its certificate for others; never its key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.responses import JSONResponse, Response

from certstore import NotFound, Store
from tlsproxy.authoritykeeping import authority_to_json
from tlsproxy.control.documents import Hash
from tlsproxy.control.operations import Answer, Ask, Operation

__all__ = ["OPERATIONS"]

_PEM = "application/pem-certificate-chain"  # RFC 8555 section 9.1
_DER = "application/pkix-cert"  # RFC 2585 section 4.1


class AuthorityDocument(msgspec.Struct):
    """The device's own authority; `sha256` is what a person compares before trusting it.

    `names` are all that it may sign for, and hosts below them. `exported`: somebody has its certificate, so
    that it changes by a person's word only, or ahead of its end.
    """

    subject: str
    sha256: Hash
    spki: Hash
    names: list[str]
    not_before: datetime
    not_after: datetime
    exported: Annotated[bool, msgspec.Meta(description="Whether its certificate was given to somebody.")]


async def _show(ask: Ask) -> Response:
    return JSONResponse(await trio.to_thread.run_sync(_shown, ask.backing.store))


def _shown(store: Store) -> dict[str, object]:
    authority = store.device_ca.current()
    if authority is None:
        raise NotFound("device authority", "")
    return authority_to_json(authority, is_exported=store.device_ca.is_exported)


async def _pem(ask: Ask) -> Response:
    return Response((await _exported(ask)).public_bytes(Encoding.PEM), media_type=_PEM)


async def _der(ask: Ask) -> Response:
    return Response((await _exported(ask)).public_bytes(Encoding.DER), media_type=_DER)


async def _exported(ask: Ask) -> x509.Certificate:
    return await trio.to_thread.run_sync(ask.backing.store.device_ca.export)


async def _renew(ask: Ask) -> Response:
    made = await ask.backing.changing.renew_authority(ask.peer)
    return JSONResponse(authority_to_json(made, is_exported=ask.backing.store.device_ca.is_exported))


_NONE = (404,)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/device-ca",
        "getDeviceAuthority",
        "Show the device's own authority, where it has one.",
        _show,
        (Answer("The authority.", AuthorityDocument),),
        problems=_NONE,
    ),
    Operation(
        "GET",
        "/v1/device-ca/certificate.pem",
        "downloadDeviceAuthority",
        "Download the authority's certificate in PEM, for who is to trust the device.",
        _pem,
        (Answer("One certificate in PEM.", media=_PEM),),
        problems=_NONE,
    ),
    Operation(
        "GET",
        "/v1/device-ca/certificate.der",
        "downloadDeviceAuthorityDer",
        "Download the authority's certificate in DER, as phones and Windows want it.",
        _der,
        (Answer("One certificate in DER.", media=_DER),),
        problems=_NONE,
    ),
    Operation(
        "POST",
        "/v1/device-ca/renew",
        "renewDeviceAuthority",
        "Make the authority anew, with the same key, for what the device is called now.",
        _renew,
        (Answer("The new authority: to be imported anew wherever it is to be trusted.", AuthorityDocument),),
        problems=_NONE,
    ),
)
