"""`tlsproxy certs csr`: a key that is made here and never leaves, and the request that an authority signs.

With a running proxy it makes the key; without one it is made on the store, under its lock. The answer comes
back by `tlsproxy certs import`, and finds its key by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource

from tlsproxy import policy_requests as policy
from tlsproxy.cli.columns import show_columns
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import Whereabouts, as_typed, find_place, place_options
from tlsproxy.cli.proposing import propose
from tlsproxy.errors import UsageError

if TYPE_CHECKING:
    from certstore import Request, Slot, Wish

__all__ = ["csr"]

F = TypeVar("F", bound=Callable[..., object])

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
_OUTPUT = click.option(
    "--output",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="The file to write the request to [default: stdout].",
)
_ID = click.argument("id_", metavar="ID")
_SUBJECT = {
    "common_name": "Common name [default: the first name; '': none].",
    "organization": "Organization, for authorities that ask for it.",
    "organizational_unit": "Department.",
    "locality": "Town.",
    "state": "State or province.",
    "country": "Country, by its code of two letters.",
}


def _subject_options(command: F) -> F:
    for name, words in reversed(_SUBJECT.items()):
        command = click.option(f"--{name.replace('_', '-')}", help=words)(command)
    return command


@click.group(
    "csr",
    invoke_without_command=True,
    short_help="Request a certificate for a key that never leaves this device.",
    epilog=examples(
        "tlsproxy certs csr --name device.example.com --ip 192.0.2.7 --output device.csr",
        "tlsproxy certs import device.crt     # what the authority made of it; the key is here",
        "tlsproxy certs csr --renew --output next.csr     # the same names, a new key",
        "tlsproxy certs csr names     # by which names does the network know this device?",
        "tlsproxy certs csr list",
    ),
)
@click.option(
    "--name",
    "names",
    metavar="HOST",
    multiple=True,
    help="A host name that the device is reached by; repeatable.",
)
@click.option(
    "--ip",
    "addresses",
    metavar="ADDRESS",
    multiple=True,
    help="An address that it is reached by; repeatable.",
)
@click.option(
    "--key-type",
    type=click.Choice(["ec", "ec384", "rsa2048", "rsa3072", "rsa4096"]),
    help="The kind of key [default: ec (P-256), or as in what is renewed].",
)
@_subject_options
@click.option("--renew", is_flag=True, help="For the same names as the certificate that is here.")
@click.option(
    "--for", "which", metavar="NAME|FINGERPRINT|ID", help="The same, where there are several: which one."
)
@click.option("--same-key", is_flag=True, help="With --renew: for the key that is in use, not a new one.")
@_OUTPUT
@place_options
@_JSON
@click.pass_context
def csr(context: click.Context, /, store: Path | None, config: Path | None, **said: object) -> None:
    """Make a key on this device, and a certificate request (PKCS #10) for it, to be signed by an authority.

    The key never leaves the device. Hand in the certificate that the authority makes of the request with
    `tlsproxy certs import`: it finds its key by itself. Several requests may wait; what nobody answers within
    90 days is removed.
    """
    if context.invoked_subcommand is not None:
        if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
            words = f"options of csr itself don't go with {context.invoked_subcommand}"
            raise UsageError(words, f"name them behind it: tlsproxy certs csr {context.invoked_subcommand}")
        return
    place = find_place(store, config)
    wish = _wish(place, said)
    _wait_random()
    request, is_running, is_new = _made(place, wish)
    output, as_json = said["output"], bool(said["as_json"])
    if isinstance(output, Path):
        output.write_text(request.pem, "ascii")
    if as_json:
        click.echo(json.dumps({**request.to_json(), "running": is_running}, indent=2))
        return
    if output is None:
        click.echo(request.pem, nl=False)
    if is_new:
        click.echo(f"there was no store at {place.store}: it was made just now", err=True)
    click.echo(f"request {request.id}: its key stays here, and waits until {_day(request)}", err=True)
    click.echo(f"hand in the answer: tlsproxy certs import FILE{as_typed()}", err=True)


csr.add_command(propose)


@csr.command(
    "list",
    short_help="List the requests that wait for an answer.",
    epilog=examples("tlsproxy certs csr list", "tlsproxy certs csr list --json"),
)
@place_options
@_JSON
def list_(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """List the requests that wait for an answer, the oldest first."""
    requests = _waiting(find_place(store, config))
    if as_json:
        shown = [{**one.to_json(), "state": state} for one, state in requests]
        click.echo(json.dumps({"requests": shown}, indent=2))
        return
    show_columns(
        ("id", "names", "key", "made", "waits until", "state"),
        [
            (one.id, ", ".join(one.wanted.names), one.wanted.key_type, _moment(one.made_at), _day(one), state)
            for one, state in requests
        ],
    )


@csr.command(
    short_help="Show one request, for an authority.",
    epilog=examples(
        "tlsproxy certs csr show 3f9a12bc", "tlsproxy certs csr show 3f9a12bc --output again.csr"
    ),
)
@_ID
@_OUTPUT
@place_options
@_JSON
def show(
    id_: str,
    output: Path | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show a request that waits: what it asks for, and the request itself in PEM."""
    from certstore import NotFound

    found = [(one, state) for one, state in _waiting(find_place(store, config)) if one.id == id_.lower()]
    if not found:
        raise NotFound("request", id_)
    ((request, state),) = found
    if output is not None:
        output.write_text(request.pem, "ascii")
    if as_json:
        click.echo(json.dumps({**request.to_json(), "state": state}, indent=2))
        return
    subject = ", ".join(
        f"{name.replace('_', ' ')} {v}" for name, v in request.wanted.subject.to_json().items()
    )
    for line in (
        f"id           {request.id}, {state}",
        f"names        {', '.join(request.wanted.names)}",
        f"subject      {subject or 'none'}",
        f"key          {request.wanted.key_type}; SPKI SHA-256 {request.spki}",
        f"made         {_moment(request.made_at)} UTC via {request.via}; waits until {_day(request)}",
        *([f"renews       bundle {request.renews}"] if request.renews is not None else []),
        *(["", request.pem.rstrip("\n")] if output is None else []),
    ):
        click.echo(line)


@csr.command(
    short_help="Remove a request, and its key.",
    epilog=examples("tlsproxy certs csr remove 3f9a12bc"),
)
@_ID
@place_options
@_JSON
def remove(id_: str, store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Remove a request with its key: a certificate that an authority still makes of it can't be used."""
    from certstore import NotFound
    from tlsproxy.cli.either import whichever
    from tlsproxy.requestkeeping import request_facts

    place = find_place(store, config)
    found = next((one for one, _ in _waiting(place) if one.id == id_.lower()), None)
    if found is None:
        raise NotFound("request", id_)
    request = found
    done = whichever(
        place,
        lambda client: client.remove_request(request.id),
        lambda held: held.requests.remove(request.id),
        lambda log, actor, one: log.note(actor, "remove_request", "done", **request_facts(one)),
    )
    if as_json:
        click.echo(json.dumps({**done.value.to_json(), "running": done.is_running}, indent=2))
    else:
        click.echo(f"removed: request {request.id} for {', '.join(request.wanted.names)}, with its key")


def _wish(place: Whereabouts, said: dict[str, object]) -> Wish:
    """Put together what was said. Raises UsageError."""
    from certstore import KeyType, Wish, is_address

    names, addresses = (tuple(str(one) for one in said[key]) for key in ("names", "addresses"))  # type: ignore[attr-defined]
    for address in addresses:
        if not is_address(address):
            raise UsageError(f"{address!r} is no address", "host names are given by --name")
    slot = _renewed(place, said)
    if slot is None and not (names or addresses):
        words = "a request for which name?"
        raise UsageError(
            words, "--name HOST, --ip ADDRESS or --renew; tlsproxy certs csr names proposes some"
        )
    if said["same_key"] and slot is None:
        raise UsageError("the same key as which certificate?", "--same-key goes with --renew or --for WHICH")
    return Wish(
        names=(*names, *addresses),
        key_type=KeyType(str(said["key_type"])) if said["key_type"] is not None else None,
        subject={name: str(value) for name in _SUBJECT if (value := said[name]) is not None},
        renews=slot.key if slot is not None else None,
        same_key=bool(said["same_key"]),
    )


def _renewed(place: Whereabouts, said: dict[str, object]) -> Slot | None:
    from tlsproxy.cli.choosing import choose_slot
    from tlsproxy.cli.views import view_of

    which = str(said["which"]) if said["which"] is not None else None
    if which is None and not said["renew"]:
        return None
    with view_of(place) as view:
        slot = choose_slot(view.slots(), view.metas(), which)
    if slot is None:
        raise UsageError(f"there is no certificate {which}", "see which there are: tlsproxy certs list")
    return slot


def _made(place: Whereabouts, wish: Wish) -> tuple[Request, bool, bool]:
    """Have the request made; says whether a proxy runs, and whether there was no store before."""
    from tlsproxy.cli.either import VIA, whichever
    from tlsproxy.requestkeeping import request_facts

    is_new = not place.store.exists()
    try:
        done = whichever(
            place,
            lambda client: client.make_request(wish, VIA),
            lambda held: held.requests.make(wish, via=VIA),
            lambda log, actor, made: log.note(actor, "make_request", "done", **request_facts(made)),
        )
    except ValueError as error:
        raise UsageError(str(error), "tlsproxy certs csr --help") from error
    return done.value, done.is_running, is_new and not done.is_running


def _wait_random() -> None:
    """Wait until keys may be made; say so when that takes time."""
    from certstore import random_ready

    if not random_ready():
        click.echo("waiting for the kernel's random generator: no key is made before it is ready", err=True)
        while not random_ready():
            time.sleep(policy.RANDOM_POLL_S)


def _waiting(place: Whereabouts) -> list[tuple[Request, str]]:
    """Give what waits, each with its state in words."""
    from certstore import is_answered
    from tlsproxy.cli.views import view_of

    with view_of(place) as view:
        requests, slots, metas = view.requests(), view.slots(), view.metas()

    def spki_of(bundle: str) -> str | None:
        meta = metas.get(bundle)
        return meta.spki if meta is not None else None

    def state(request: Request) -> str:
        if any(is_answered(request, slot, spki_of) for slot in slots):
            return "answered, waits for confirmation"
        return "expired" if request.expires_at <= datetime.now(UTC) else "waits"

    return [(one, state(one)) for one in requests]


def _day(request: Request) -> str:
    return f"{request.expires_at:%Y-%m-%d}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
