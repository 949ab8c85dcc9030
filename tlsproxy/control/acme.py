"""The certificate of an ACME authority: what is wanted of which, how it goes, and the end of it.

The account's key, and the binding that an authority gave, go in here and never come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from certstore import NotFound, Reason, normalise
from tlsproxy.acmekeeping import Terms
from tlsproxy.control.acmedocuments import (
    AcmeDocument,
    EnrolmentDocument,
    OutlookDocument,
    PreflightDocument,
    RevocationDocument,
    outlook_to_json,
)
from tlsproxy.control.candidates import read_body
from tlsproxy.control.operations import Answer, Ask, Operation
from tlsproxy.control.values import JSON_TYPE, BadRequestError, decoded

if TYPE_CHECKING:
    from certstore.issuers.acme.wishes import Binding, Server

__all__ = ["OPERATIONS"]


async def _show(ask: Ask) -> Response:
    standing = await ask.backing.enrolling.standing()
    if standing is None:
        raise NotFound("ACME enrolment", "")
    return JSONResponse(standing)


async def _enable(ask: Ask) -> Response:
    from certstore.issuers.acme.enrolment import Enrolment, Fallback
    from certstore.issuers.acme.roots import roots_in

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
            ca_pem=roots_in(wanted.ca_pem),
            fallback=Fallback(other.directory, roots_in(other.ca_pem)) if other is not None else None,
            keeps_key=wanted.keep_key,
            pauses=wanted.pause_in_shadow,
            name_server=wanted.name_server.read() if wanted.name_server is not None else None,
            acme_dns=wanted.acme_dns.read() if wanted.acme_dns is not None else None,
            proxy=wanted.proxy,
            beside=wanted.beside,
        )
        terms = Terms(tuple(wanted.contacts), is_agreed=wanted.agree_tos, bindings=bindings)
        await ask.backing.enrolling.enable(make, terms, ask.peer)
    except ValueError as error:
        raise _unusable(str(error)) from error
    return await _show(ask)


async def _preflight(ask: Ask) -> Response:
    from certstore.issuers.acme.roots import roots_in
    from tlsproxy.acmelookout import Question

    asked = decoded(await read_body(ask), PreflightDocument)
    try:
        roots = roots_in(asked.ca_pem).encode("ascii")
        question = Question(
            names=tuple(dict.fromkeys(map(_normal, asked.names))),
            challenge=asked.challenge,
            server=_server(asked, roots) if asked.directory is not None else None,
            profile=asked.profile,
            name_server=asked.name_server.read() if asked.name_server is not None else None,
            acme_dns=asked.acme_dns.read() if asked.acme_dns is not None else None,
        )
    except ValueError as error:
        raise _unusable(str(error)) from error
    return JSONResponse(outlook_to_json(*await ask.backing.foreseeing.look(question)))


def _server(asked: PreflightDocument, roots: bytes) -> Server:
    from certstore.issuers.acme.wishes import Server, http_proxy

    return Server(asked.directory or "", roots, proxy=http_proxy(asked.proxy) if asked.proxy else None)


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
    from certstore.issuers.acme.wishes import Binding, mac_key

    for one in (wanted, wanted.fallback):
        if one is not None and one.binding is not None:
            yield one.directory, Binding(one.binding.kid, mac_key(one.binding.mac_key))


def _normal(name: str) -> str:
    try:
        return normalise(name)
    except ValueError as error:
        raise ValueError(f"{name[:60]!r} can't stand in a certificate: {error}") from None


def _unusable(why: str) -> BadRequestError:
    return BadRequestError(422, "invalid_body", why)


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
        "/v1/acme/preflight",
        "foreseeAcme",
        "Tell beforehand which kinds of proof can work here, and why not; changes nothing.",
        _preflight,
        (Answer("What is to be expected.", OutlookDocument),),
        bodies={JSON_TYPE: PreflightDocument},
        problems=(400, 404, 408, 413, 422, 503),
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
