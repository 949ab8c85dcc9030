"""`tlsproxy device-ca`: the device's own authority, for who is to trust the device once and for all.

It is made where the configuration says `device_ca = true` below `[identity]`. Its key leaves by none of
these.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import Whereabouts, find_place, place_options

__all__ = ["device_ca"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group(
    "device-ca",
    short_help="The device's own authority: show it, give it out, renew it.",
    epilog=examples(
        "tlsproxy device-ca show",
        "tlsproxy device-ca export --output device-ca.pem",
        "tlsproxy device-ca export --der --output device-ca.cer",
    ),
)
def device_ca() -> None:
    """The device's own authority: import it once, and the device's certificates are trusted from then on."""


@device_ca.command(
    short_help="Show what it may sign for, and its fingerprint.",
    epilog=examples("tlsproxy device-ca show", "tlsproxy device-ca show --json"),
)
@place_options
@_JSON
def show(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the device's own authority: its names, and its fingerprint, which whoever trusts it compares."""
    shown = _shown(find_place(store, config))
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        _tell(shown)


@device_ca.command(
    short_help="Write out its certificate, for who is to trust it.",
    epilog=examples(
        "tlsproxy device-ca export > device-ca.pem",
        "tlsproxy device-ca export --der --output device-ca.cer     # for Windows and phones",
    ),
)
@click.option(
    "--output",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="The file to write [default: stdout].",
)
@click.option("--der", is_flag=True, help="In DER, not in PEM.")
@place_options
def export(output: Path | None, der: bool, store: Path | None, config: Path | None) -> None:  # noqa: FBT001
    """Write out the authority's certificate. From now on it changes only by `renew`, or ahead of its end."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from tlsproxy.cli.either import whichever

    done = whichever(
        find_place(store, config),
        lambda client: client.authority_certificate(),
        lambda held: held.device_ca.export(),
        lambda log, actor, _: log.note(actor, "export_device_ca", "done"),
    )
    content = done.value.public_bytes(Encoding.DER if der else Encoding.PEM)
    if output is not None:
        output.write_bytes(content)
        click.echo(f"written: {output}")
    else:
        click.echo(content, nl=False)  # bytes go as they are


@device_ca.command(
    short_help="Make it anew, for what the device is called now.",
    epilog=examples("tlsproxy device-ca renew", "tlsproxy device-ca renew --json"),
)
@place_options
@_JSON
def renew(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Make the authority anew, with the same key, for the names and addresses that the device has now.

    Everybody who trusts the one before has to import the new one to reach the device: its certificate holds
    the new names within a minute. The proxy must run.
    """
    from tlsproxy.control.client import Client

    with Client(find_place(store, config).control) as client:
        shown = client.renew_authority()
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    _tell(shown)
    click.echo("import it anew wherever the device is used: tlsproxy device-ca export")


def _shown(place: Whereabouts) -> dict[str, object]:
    from certstore import NotFound, read_authority
    from certstore.authority import is_exported
    from tlsproxy.authoritykeeping import authority_to_json
    from tlsproxy.control.client import Client
    from tlsproxy.errors import NotRunningError

    try:
        with Client(place.control) as client:
            return client.authority()
    except NotRunningError:
        authority = read_authority(place.store)
    if authority is None or authority.spki in _banned(place):
        raise NotFound("device authority", "")
    return authority_to_json(authority, is_exported=is_exported(place.store))


def _banned(place: Whereabouts) -> set[str]:
    from tlsproxy.cli.views import view_of

    with view_of(place) as view:
        return {ban.spki for ban in view.bans()}


def _tell(shown: dict[str, object]) -> None:
    from certstore.fingerprints import grouped

    names = shown["names"]
    assert isinstance(names, list)
    given = "yes: it changes by tlsproxy device-ca renew only" if shown["exported"] else "not yet"
    for line in (
        f"subject      {shown['subject']}",
        f"SHA-256      {grouped(str(shown['sha256']))}",
        f"signs for    {', '.join(names) or 'nobody'}, and nobody else",
        f"valid        {str(shown['not_before'])[:10]} to {str(shown['not_after'])[:10]}",
        f"given out    {given}",
    ):
        click.echo(line)
