"""`tlsproxy trust`: by which authorities clients' certificates are verified, and which are revoked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsproxy.cli.columns import show_columns
from tlsproxy.cli.endings import complain, printable
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import find_place, place_options
from tlsproxy.cli.reverting import tell
from tlsproxy.errors import ExitCode, UsageError
from tlsproxy.policy_clients import DEFAULT_SET

if TYPE_CHECKING:
    from tlsproxy.cli.places import Whereabouts

__all__ = ["trust"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def _name(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    from certstore import is_trust_name

    if not is_trust_name(text):
        raise UsageError(f"{text!r} is no name of a set", "use lower-case letters, digits and hyphens")
    return text


def _one(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    return None if text is None else _name(context, parameter, text)


_WHICH = click.argument("which", metavar="[NAME]", required=False, callback=_one)
# as with import
_BY_NAME = click.option("--name", default=None, callback=_one, help=f"NAME.  [default: {DEFAULT_SET}]")


def _meant(which: str | None, name: str | None) -> str:
    """Give the one set that is meant, by argument or option."""
    if which is not None and name is not None and which != name:
        raise UsageError(f"two sets are named: {which} and {name}", "name one")
    return which or name or DEFAULT_SET


@click.group(
    short_help="Say whose clients are let in.",
    epilog=examples(
        "tlsproxy trust import plant-ca.pem",
        "tlsproxy trust import plant-ca.pem plant.crl --name plant",
        "tlsproxy trust list",
        "tlsproxy trust show plant",
        "tlsproxy trust remove plant",
    ),
)
def trust() -> None:
    """Say by which authorities clients' certificates are verified, and which of them are revoked.

    A set has a name; the configuration says, in [[client_auth]], which names and ports ask by which set.
    """


@trust.command(
    "import",
    short_help="Hand in authorities, or revocation lists.",
    epilog=examples(
        "tlsproxy trust import plant-ca.pem --name plant",
        "tlsproxy trust import new.crl --name plant",
    ),
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--name", default=DEFAULT_SET, show_default=True, callback=_name, help="The set's name.")
@place_options
@_JSON
def import_(
    files: tuple[str, ...],
    name: str,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001  click passes flags so
) -> int:
    """Hand in authorities' certificates, revocation lists, or both, in PEM or DER.

    Authorities replace those that the set has; a list replaces the list of its issuer. What is good takes
    effect at once in every worker, and connections of clients that aren't let in any more end in order.
    """
    from tlsproxy.cli.either import VIA, by_proxy_or_here
    from tlsproxy.cli.handing_in import read_files

    place = find_place(store, config)
    candidate, unreadable = read_files(files)
    if unreadable:
        for one in unreadable:
            complain(f"refused: {one.words} [{one.code}]", one.hint)
        return ExitCode.FAILED
    done = by_proxy_or_here(
        place,
        "put_trust",
        lambda client: client.put_trust(name, candidate, VIA),
        lambda held: held.trust.put(name, candidate.files, via=VIA),
    )
    return tell(done, f"the set {name} is in force", as_json=as_json)


@trust.command(short_help="Take a set away.", epilog=examples("tlsproxy trust remove plant"))
@_WHICH
@_BY_NAME
@place_options
@_JSON
def remove(
    which: str | None,
    name: str | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001  click passes flags so
) -> int:
    """Take a set away; refused while a rule of the configuration names it: nobody would get in there."""
    from tlsproxy.cli.either import VIA, by_proxy_or_here

    name, place = _meant(which, name), find_place(store, config)
    done = by_proxy_or_here(
        place,
        "remove_trust",
        lambda client: client.remove_trust(name, VIA),
        lambda held: held.trust.remove(name, via=VIA, rule=_rule(place, name)),
    )
    return tell(done, f"the set {name} is gone", as_json=as_json)


@trust.command("list", short_help="List the sets.", epilog=examples("tlsproxy trust list --json"))
@place_options
@_JSON
def list_(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """List the sets: their authorities and revocation lists, until when, and for which names they count."""
    sets = _sets(find_place(store, config))
    if as_json:
        click.echo(json.dumps({"sets": sets}, indent=2))
        return
    rows: list[tuple[str, ...]] = []
    for one in sets:
        rows += [
            (one["name"], "authority", anchor["subject"], anchor["not_after"][:10], one["rule"])
            for anchor in one["anchors"]
        ]
        for crl in one["crls"]:
            ends, what = crl["next_update"] or "", f"list ({crl['revoked']} revoked)"
            rows.append((one["name"], what, crl["issuer"], ends[:10], one["rule"]))
        if one["error"]:
            rows.append((one["name"], "damaged", one["error"], "", one["rule"]))
    cleaned = [tuple(map(printable, row)) for row in rows]  # subjects are whatever an authority wrote
    show_columns(("set", "what", "subject", "until", "for"), cleaned)


@trust.command(short_help="Show one set.", epilog=examples("tlsproxy trust show plant"))
@_WHICH
@_BY_NAME
@place_options
@_JSON
def show(
    which: str | None,
    name: str | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001  click passes flags so
) -> None:
    """Show one set: its authorities with their fingerprints (SHA-256), and its revocation lists."""
    from certstore import NotFound

    name = _meant(which, name)
    one = next((one for one in _sets(find_place(store, config)) if one["name"] == name), None)
    if one is None:
        raise NotFound("trust set", name)
    if as_json:
        click.echo(json.dumps(one, indent=2))
        return
    click.echo(f"set {name}, for {one['rule'] or 'no rule of the configuration'}")
    if one["error"]:
        click.echo(f"damaged: {one['error']}")
    for anchor in one["anchors"]:
        click.echo(f"authority {printable(anchor['subject'])}, until {anchor['not_after'][:10]}")
        click.echo(f"    {anchor['fingerprint']}")
    for crl in one["crls"]:
        ends = crl["next_update"][:10] if crl["next_update"] else "it is replaced"
        click.echo(f"list of {printable(crl['issuer'])}, until {ends}: {crl['revoked']} revoked")


def _rule(place: Whereabouts, name: str) -> str:
    """Say for which names the configuration asks by a set."""
    if place.configured is None:
        return ""
    from tlsproxy.config.clientauth import rule_words

    return rule_words(place.configured.client_auth, name)


def _sets(place: Whereabouts) -> list[dict[str, Any]]:
    from certstore import NotFound, TrustSet, read_generation, read_trust
    from tlsproxy.cli.places import somewhere_else
    from tlsproxy.control.client import Client
    from tlsproxy.errors import NotRunningError
    from tlsproxy.trustsets import shown

    try:
        with Client(place.control) as client:
            return client.trust()
    except NotRunningError as error:
        if place.known is None:
            raise somewhere_else(error) from None
    generation = read_generation(place.store)
    ids = {one.name: one for one in (generation.trust if generation is not None else ())}

    def read(name: str) -> TrustSet:
        if name not in ids:
            raise NotFound("trust set", name)
        return read_trust(place.store, ids[name].id)

    return [shown(one, read, lambda name: _rule(place, name)) for one in ids.values()]
