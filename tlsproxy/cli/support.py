"""`tlsproxy support`: a support bundle in one file; or the inventory of what is installed (SBOM)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy import policy
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import USUAL_CONFIG, find_place, place_in, place_options
from tlsproxy.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from tlsproxy.support.parts import Subject

__all__ = ["support"]

_README = """\
A support bundle of tlsproxy, made {at:%Y-%m-%d %H:%M:%S} UTC by version {version}.

It holds no private key, no passphrase, no content of any key file, and nothing of what clients said. Names,
addresses, serial numbers and file names of the device are in it. In configuration.json the values of keys
that sound secret, or that tlsproxy doesn't know, read <withheld>, and comments are left out.

The log is not in it: tlsproxy keeps none. Where it runs as a service, add it by
    journalctl -u tlsproxy --since -2d -o short-precise > tlsproxy.log

{missing}"""


@click.command(
    short_help="Collect what an engineer asks for, without any secret.",
    epilog=examples(
        "tlsproxy support",
        "sudo tlsproxy support /tmp/device.tar.gz          # root sees the processes too",
        "tlsproxy support --store ./store --json",
        "tlsproxy support --sbom > tlsproxy.cdx.json       # what is installed, with licences",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--sbom", is_flag=True, help="Print the inventory of what is installed, in CycloneDX 1.6, and end."
)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Say in JSON what was written.")
def support(
    file: Path | None,
    sbom: bool,  # noqa: FBT001
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Write FILE, a .tar.gz with what is needed to see from afar what is wrong; only you can read it.

    Versions, configuration and its mistakes, status, health, receipts, generations, events, metrics, the
    audit log, the store's files by name, processes and listening sockets. No key, and nothing secret, is in
    it. The proxy may run, or not, or not answer: what can't be had is told in README.txt inside.

    FILE must not exist yet [default: tlsproxy-support-TIME.tar.gz here]. At most 8 MB, within half a minute.
    """
    now = datetime.now(UTC)
    if sbom:
        _print_inventory(now)
        return
    from tlsproxy.cli.newfile import write_new

    subject = _subject(store, config)
    folder = f"tlsproxy-support-{now:%Y%m%dT%H%M%SZ}"
    target = file or Path(f"{folder}.tar.gz")
    if target.exists():
        raise UsageError(f"{target} exists already", "name another file, or remove that one")
    content, names, missing = _collected(subject, folder, now)
    write_new(target, content)
    if as_json:
        facts = {"file": str(target), "bytes": len(content), "files": names, "missing": missing}
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"written: {target}, {len(content)} bytes, {len(names)} files")
    for why, parts in missing.items():
        click.echo(f"missing: {', '.join(parts)}: {why}")
    click.echo("the log is not in it: add what `journalctl -u tlsproxy --since -2d` says")


def _collected(subject: Subject, folder: str, now: datetime) -> tuple[bytes, list[str], dict[str, list[str]]]:
    """Give the archive, the names of its files, and what is missing, by the reason why."""
    from tlsproxy import __version__
    from tlsproxy.software import loaded
    from tlsproxy.support.collecting import Part, collect
    from tlsproxy.support.inventory import inventory
    from tlsproxy.support.package import Package
    from tlsproxy.support.parts import parts_of

    package = Package(folder, now)
    parts = [*parts_of(subject), Part("inventory.cdx.json", lambda: inventory(loaded(), now))]
    missing = collect(package, parts, policy.SUPPORT_S)
    lines = [f"  {', '.join(names)}: {why}" for why, names in missing.items()]
    told = "\n".join(["Missing:", *lines]) if missing else "Nothing is missing."
    package.add("README.txt", _README.format(at=now, version=__version__, missing=f"{told}\n"))
    return package.to_bytes(), package.names, missing


def _print_inventory(now: datetime) -> None:
    from tlsproxy.software import loaded
    from tlsproxy.support.inventory import inventory

    click.echo(json.dumps(inventory(loaded(), now), indent=2))


def _subject(store: Path | None, config: Path | None) -> Subject:
    from tlsproxy.cli.status import read_status
    from tlsproxy.support.parts import Asking, Subject

    try:
        place = find_place(store, config)
    except ConfigError:  # that is what is wrong, perhaps
        place = place_in(config or USUAL_CONFIG)
    file = None if store is not None else config or USUAL_CONFIG
    return Subject(place.store, place.inbox, file, Asking(place.control), lambda: read_status(place))
