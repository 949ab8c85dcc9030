"""The certificate of an ACME authority: what is wanted of which, how it goes, and the end of it.

The account's key, and the binding that an authority gave, go in here and never come out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
from starlette.responses import JSONResponse, Response

from certstore import Challenge, KeyType, NotFound, Reason
from tlsproxy.acmekeeping import Terms
from tlsproxy.control.candidates import read_body
from tlsproxy.control.documents import Count, Hash
from tlsproxy.control.operations import Answer, Ask, Operation
from tlsproxy.control.values import JSON_TYPE, BadRequestError, decoded

if TYPE_CHECKING:
    from certstore.issuers.acme.nameserver import NameServer
    from certstore.issuers.acme.wishes import Binding

__all__ = ["OPERATIONS"]

_MOST_NAMES = 100  # as many as public authorities put into one certificate
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
_Url: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
_Mail: TypeAlias = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
_Pem: TypeAlias = Annotated[str, msgspec.Meta(max_length=100_000)]


class BindingDocument(msgspec.Struct, forbid_unknown_fields=True):
    """What the authority gave to bind the account to its customer (RFC 8555 section 7.3.4); base64url."""

    kid: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    mac_key: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class FallbackDocument(msgspec.Struct, forbid_unknown_fields=True):
    """Another authority, which is asked where the first fails again and again; as in `EnrolmentDocument`."""

    directory: _Url
    ca_pem: _Pem = ""
    binding: BindingDocument | None = None


class NameServerDocument(msgspec.Struct, forbid_unknown_fields=True):
    """Who takes the proofs of dns-01, by updates (RFC 2136) that are signed with `key`.

    key: as `tsig-keygen` writes it. zone: empty where the server is to be asked. wait_s: until other servers
    have what this one has.
    """

    address: _Name
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 53
    zone: Annotated[str, msgspec.Meta(max_length=253)] = ""
    wait_s: Annotated[int, msgspec.Meta(ge=0, le=3_600)] = 0


class RevocationDocument(msgspec.Struct, forbid_unknown_fields=True):
    """Why a certificate is revoked (RFC 5280 section 5.3.1)."""

    reason: Reason = Reason.SUPERSEDED


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
    ca_pem: _Pem = ""
    binding: BindingDocument | None = None
    fallback: FallbackDocument | None = None
    name_server: NameServerDocument | None = None
    keep_key: Annotated[bool, msgspec.Meta(description="Renew with the key that is there.")] = False
    pause_in_shadow: Annotated[
        bool, msgspec.Meta(description="Ask for nothing while a customer's certificate has all the names.")
    ] = False


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
    fallback: Annotated[str | None, msgspec.Meta(description="The other authority's directory.")]
    name_server: Annotated[str | None, msgspec.Meta(description="Who takes the proofs of dns-01.")]
    keep_key: bool
    pause_in_shadow: bool
    issued_by: Annotated[str | None, msgspec.Meta(description="The directory of whom the certificate is.")]
    held: Annotated[str | None, msgspec.Meta(description="Why nothing can be asked for now.")]
    asking: Annotated[bool, msgspec.Meta(description="One is wanted at once, and hasn't come yet.")]
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
    from certstore.issuers.acme.enrolment import Enrolment, Fallback

    wanted = decoded(await read_body(ask), EnrolmentDocument)
    other = wanted.fallback
    try:
        bindings = dict(_bindings(wanted))
        make = partial(
            Enrolment,
            directory=wanted.directory,
            names=tuple(wanted.names),
            challenge=wanted.challenge,
            key_type=wanted.key_type,
            profile=wanted.profile,
            preferred_chain=wanted.preferred_chain,
            ca_pem=_ascii(wanted.ca_pem),
            fallback=Fallback(other.directory, _ascii(other.ca_pem)) if other is not None else None,
            keeps_key=wanted.keep_key,
            pauses=wanted.pause_in_shadow,
            name_server=_name_server(wanted.name_server),
        )
        terms = Terms(tuple(wanted.contacts), is_agreed=wanted.agree_tos, bindings=bindings)
        await ask.backing.enrolling.enable(make, terms, ask.peer)
    except ValueError as error:
        raise _unusable(str(error)) from error
    return await _show(ask)


async def _renew(ask: Ask) -> Response:
    await _show(ask)  # where nothing is wanted, nothing is renewed
    await ask.backing.enrolling.renew(ask.peer)
    return await _show(ask)


async def _revoke(ask: Ask) -> Response:
    asked = decoded(await read_body(ask), RevocationDocument)
    wanted = await _show(ask)
    await ask.backing.enrolling.revoke(asked.reason, ask.peer)
    return wanted if asked.reason is Reason.CESSATION else await _show(ask)


async def _roll_over(ask: Ask) -> Response:
    await ask.backing.enrolling.roll_over(ask.peer)
    return await _show(ask)


async def _disable(ask: Ask) -> Response:
    wanted = await _show(ask)
    await ask.backing.enrolling.disable(ask.peer)
    return wanted


def _bindings(wanted: EnrolmentDocument) -> Iterator[tuple[str, Binding]]:
    from certstore.issuers.acme.wishes import Binding

    for one in (wanted, wanted.fallback):
        if one is not None and one.binding is not None:
            yield one.directory, Binding(one.binding.kid, _bytes(one.binding.mac_key))


def _name_server(given: NameServerDocument | None) -> NameServer | None:
    from certstore.issuers.acme.nameserver import NameServer, TsigKey

    if given is None:
        return None
    return NameServer(given.address, TsigKey.read(given.key), given.port, given.zone, given.wait_s)


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
        "POST",
        "/v1/acme/revoke",
        "revokeAcme",
        "Have the authority revoke the certificate that is there, and ask for another one; at the end of all"
        " use for none.",
        _revoke,
        (Answer("It is revoked; what is wanted, or was.", AcmeDocument),),
        bodies={JSON_TYPE: RevocationDocument},
        problems=(400, 404, 408, 413, 422, 502, 503),
    ),
    Operation(
        "POST",
        "/v1/acme/roll-over",
        "rollOverAcme",
        "Give the accounts at the authorities new keys.",
        _roll_over,
        (_STANDING,),
        problems=(404, 502, 503),
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
