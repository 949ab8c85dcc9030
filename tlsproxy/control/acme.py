"""The certificate of an ACME authority: what is wanted of which, how it goes, and the end of it.

The account's key, and the binding that an authority gave, go in here and never come out.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from functools import partial
from typing import Annotated, TypeAlias

import msgspec
from starlette.responses import JSONResponse, Response

from certstore import Challenge, KeyType, NotFound
from tlsproxy.acmekeeping import Terms
from tlsproxy.control.candidates import read_body
from tlsproxy.control.documents import Count, Hash
from tlsproxy.control.operations import Answer, Ask, Operation
from tlsproxy.control.values import JSON_TYPE, BadRequestError, decoded

__all__ = ["OPERATIONS"]

_MOST_NAMES = 100  # as many as public authorities put into one certificate
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
_Url: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
_Mail: TypeAlias = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
# Others are answered by name servers, whom this proxy doesn't reach yet.
_OURS = (Challenge.HTTP_01, Challenge.TLS_ALPN_01)


class BindingDocument(msgspec.Struct, forbid_unknown_fields=True):
    """What the authority gave to bind the account to its customer (RFC 8555 section 7.3.4); base64url."""

    kid: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    mac_key: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class EnrolmentDocument(msgspec.Struct, forbid_unknown_fields=True):
    """What is wanted. `ca_pem`: roots to trust for the authority's own TLS, beside the system's."""

    directory: _Url
    names: Annotated[list[_Name], msgspec.Meta(min_length=1, max_length=_MOST_NAMES)]
    agree_tos: bool = False
    challenge: Challenge = Challenge.HTTP_01
    key_type: KeyType = KeyType.EC
    contacts: Annotated[list[_Mail], msgspec.Meta(max_length=10)] = []
    profile: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    preferred_chain: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None
    ca_pem: Annotated[str, msgspec.Meta(max_length=100_000)] = ""
    binding: BindingDocument | None = None


class FailureDocument(msgspec.Struct):
    """Why the last try failed."""

    code: str
    words: str
    hint: str


class AcmeDocument(msgspec.Struct):
    """What is wanted, and how it goes. `step`: what an order waits for now; `sha256`: of the certificate."""

    directory: str
    names: list[str]
    challenge: Challenge
    key_type: KeyType
    profile: str | None
    since: datetime
    step: str | None
    failures: Annotated[Count, msgspec.Meta(description="In a row, since the last certificate.")]
    last_failure: FailureDocument | None
    next_at: datetime | None
    renew_at: datetime | None
    sha256: Hash | None
    not_after: datetime | None


async def _show(ask: Ask) -> Response:
    standing = await ask.backing.enrolling.standing()
    if standing is None:
        raise NotFound("ACME enrolment", "")
    return JSONResponse(standing)


async def _enable(ask: Ask) -> Response:
    from certstore.issuers.acme.enrolment import Enrolment
    from certstore.issuers.acme.wishes import Binding

    wanted = decoded(await read_body(ask), EnrolmentDocument)
    if wanted.challenge not in _OURS:
        raise _unusable(f"{wanted.challenge} isn't answered here: take {' or '.join(_OURS)}")
    given = wanted.binding
    try:
        binding = Binding(given.kid, _bytes(given.mac_key)) if given is not None else None
        make = partial(
            Enrolment,
            directory=wanted.directory,
            names=tuple(wanted.names),
            challenge=wanted.challenge,
            key_type=wanted.key_type,
            profile=wanted.profile,
            preferred_chain=wanted.preferred_chain,
            ca_pem=_ascii(wanted.ca_pem),
        )
        terms = Terms(tuple(wanted.contacts), is_agreed=wanted.agree_tos, binding=binding)
        await ask.backing.enrolling.enable(make, terms, ask.peer)
    except ValueError as error:
        raise _unusable(str(error)) from error
    return await _show(ask)


async def _renew(ask: Ask) -> Response:
    await _show(ask)  # where nothing is wanted, nothing is renewed
    await ask.backing.enrolling.renew(ask.peer)
    return await _show(ask)


async def _disable(ask: Ask) -> Response:
    wanted = await _show(ask)
    await ask.backing.enrolling.disable(ask.peer)
    return wanted


def _unusable(why: str) -> BadRequestError:
    return BadRequestError(422, "invalid_body", why)


def _ascii(text: str) -> str:
    if not text.isascii():
        raise ValueError("ca_pem holds no PEM")
    return text


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("mac_key is no base64url") from None


_STANDING = Answer("What is wanted, and how it goes.", AcmeDocument)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/acme",
        "getAcme",
        "Show which certificate is wanted of an ACME authority, and how it goes.",
        _show,
        (_STANDING,),
        problems=(404,),
    ),
    Operation(
        "PUT",
        "/v1/acme",
        "enableAcme",
        "Have a certificate of an ACME authority from now on, instead of what was wanted before.",
        _enable,
        (_STANDING,),
        bodies={JSON_TYPE: EnrolmentDocument},
        problems=(400, 408, 413, 422, 502, 503),
    ),
    Operation(
        "POST",
        "/v1/acme/renew",
        "renewAcme",
        "Ask for the next certificate now, whatever is due.",
        _renew,
        (_STANDING,),
        problems=(404, 503),
    ),
    Operation(
        "DELETE",
        "/v1/acme",
        "disableAcme",
        "Want nothing of an ACME authority any more; what is there stays until its end.",
        _disable,
        (Answer("Nothing is wanted any more; what was.", AcmeDocument),),
        problems=(404, 503),
    ),
)
