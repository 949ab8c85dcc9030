"""`tlsproxy trust`: by which authorities clients' certificates are verified, and which are revoked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsproxy.cli.columns import show_columns
from tlsproxy.cli.endings import complain
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


@click.group(
    short_help="Say whose clients are let in.",
    epilog=examples(
        "tlsproxy trust import plant-ca.pem",
        "tlsproxy trust import plant-ca.pem plant.crl --name plant",
        "tlsproxy trust list",
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


@trust.command(short_help="Take a set away.", epilog=examples("tlsproxy trust remove --name plant"))
@click.option("--name", default=DEFAULT_SET, show_default=True, callback=_name, help="The set's name.")
@place_options
@_JSON
def remove(name: str, store: Path | None, config: Path | None, as_json: bool) -> int:  # noqa: FBT001
    """Take a set away; refused while a rule of the configuration names it: nobody would get in there."""
    from tlsproxy.cli.either import VIA, by_proxy_or_here

    place = find_place(store, config)
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
    show_columns(("set", "what", "subject", "until", "for"), rows)


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
