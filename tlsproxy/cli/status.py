"""`tlsproxy status`: what is served, to whom, until when; also while the proxy is down."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.endings import is_plain
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import Whereabouts, find_proxy, place_options, somewhere_else
from tlsproxy.errors import NotRunningError, UsageError

if TYPE_CHECKING:
    from tlsproxy.observe.status import Status


@click.command(
    short_help="Say what is served, to whom, until when.",
    epilog=examples(
        "tlsproxy status",
        "tlsproxy status --store ./store",
        "tlsproxy status --config /etc/tlsproxy/tlsproxy.toml --json",
    ),
)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def status(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001  click passes flags so
    """Say what is served, to whom and until when. While the proxy is down: what its store says."""
    found = ask_or_read(find_proxy(store, config))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    elif is_plain():
        from tlsproxy.observe.rendering import render

        click.echo(render(found), nl=False)
    else:
        from tlsproxy.cli.tables import show_status

        show_status(found, sys.stdout)


def ask_or_read(place: Whereabouts) -> Status:
    """Ask the running proxy, or read the store where none runs."""
    from tlsproxy.control.client import Client

    try:
        with Client(place.control) as client:
            return client.status()
    except NotRunningError as error:
        if place.known is None:
            raise somewhere_else(error) from None
        return read_status(place)


def read_status(place: Whereabouts) -> Status:
    """Tell the status by the store alone. Raises UsageError where there is none, StoreError."""
    from certstore import (
        BUILD_DATE,
        clock_plausible,
        newest_seen,
        read_bundle,
        read_generation,
        read_receipts,
    )
    from tlsproxy.observe.status import Place, StoreFacts, describe

    if not place.store.is_dir():
        raise UsageError(f"there is no store at {place.store}", "name the folder that tlsproxy run was given")
    now = datetime.now(UTC)
    receipts, _ = read_receipts(place.store)
    generation = read_generation(place.store)
    facts = StoreFacts(
        generation=generation,
        slots=generation.slots if generation else (),
        receipts=receipts[:-11:-1],
        bundle=lambda id_: read_bundle(place.store, id_),
        clock_plausible=clock_plausible(now, BUILD_DATE, newest_seen(reversed(receipts))),
    )
    return describe(facts, place=Place(str(place.store), str(place.inbox), str(place.control)), now=now)
