"""`tlsproxy certs rollback`, `confirm`, `remove`: changes that need no files.

With a running proxy they go by its control socket, and return when the change is live everywhere. Without
one they are made on the store, under its lock, and take effect at the next start.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.endings import complain
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import Whereabouts, find_place, place_options
from tlsproxy.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from certstore import Receipt, Slot, Source
    from tlsproxy.cli.either import Done

__all__ = ["REASON", "confirm", "remove", "rollback", "tell"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer with the receipt in JSON.")
_SOURCE = click.option(
    "--source", type=click.Choice(["customer", "acme", "factory"]), help="Whose certificate is meant."
)
REASON = click.option(
    "--reason",
    type=click.Choice(["superseded", "cessation-of-operation", "key-compromise"]),
    default="superseded",
    show_default=True,
    help="Why the certificate leaves. key-compromise bans its key for good, and as cessation-of-operation it"
    " ends the connections that were made with it.",
)
_WHICH = click.argument("which", metavar="[NAME|FINGERPRINT|ID]", required=False)


@click.command(
    short_help="Go back to the certificate before.",
    epilog=examples(
        "tlsproxy certs rollback",
        "tlsproxy certs rollback device.example.com",
        "tlsproxy certs rollback --to 17      # everything as it was in generation 17",
    ),
)
@_WHICH
@click.option(
    "--to",
    "generation",
    type=click.IntRange(min=1),
    help="Put every certificate back to what it was in this generation (tlsproxy certs history).",
)
@place_options
@_SOURCE
@REASON
@_JSON
def rollback(  # noqa: PLR0913  click hands each option over by its name
    which: str | None,
    generation: int | None,
    store: Path | None,
    config: Path | None,
    source: str | None,
    *,
    reason: str,
    as_json: bool,
) -> int:
    """Put one certificate back to what was there before it.

    While it waits for confirmation that is the last confirmed one, else one step of its history. Others stay
    as they are. A certificate that was removed comes back. No connection is dropped.
    """
    from certstore import Reason
    from tlsproxy.cli.either import VIA, by_proxy_or_here

    place, why = find_place(store, config), Reason(reason)
    if generation is not None:
        if why is not Reason.SUPERSEDED:
            raise UsageError("--to goes back with all certificates", "leave out --reason: tlsproxy certs ban")
        if which is not None or source is not None:
            raise UsageError("--to goes back with all certificates", "leave out which one, or --to")
        number = generation
        done = by_proxy_or_here(
            place,
            "activate",
            lambda client: client.activate(number, VIA),
            lambda held: held.activate(number, via=VIA),
        )
    else:
        key = _key(place, which, source, also_gone=True)
        done = by_proxy_or_here(
            place,
            "roll_back",
            lambda client: client.roll_back(key, VIA, why),
            lambda held: held.roll_back(key, via=VIA, reason=why),
        )
    return tell(done, "went back", as_json=as_json)


@click.command(
    short_help="Keep a certificate that waits for confirmation.",
    epilog=examples("tlsproxy certs confirm", "tlsproxy certs confirm 000012-5f3a9c41"),
)
@click.argument("receipt", metavar="[RECEIPT]", required=False)
@place_options
@_JSON
def confirm(receipt: str | None, store: Path | None, config: Path | None, as_json: bool) -> int:  # noqa: FBT001
    """Keep a certificate that would else go back by itself. Without RECEIPT: the only one that waits."""
    from tlsproxy.cli.either import VIA, by_proxy_or_here

    place = find_place(store, config)
    id_ = receipt or _waiting(place)
    done = by_proxy_or_here(
        place, "confirm", lambda client: client.confirm(id_, VIA), lambda held: held.confirm(id_, via=VIA)
    )
    return tell(done, "confirmed", as_json=as_json)


@click.command(
    short_help="Take a certificate away: back to the device's own.",
    epilog=examples("tlsproxy certs remove", "tlsproxy certs remove device.example.com --source acme"),
)
@_WHICH
@place_options
@_SOURCE
@REASON
@_JSON
def remove(
    which: str | None,
    store: Path | None,
    config: Path | None,
    source: str | None,
    reason: str,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Take a certificate away: its names go to the next source that has them, at last to the device's own.

    `tlsproxy certs rollback NAME` brings it back as long as it is kept, unless its key was banned with it.
    """
    from certstore import Reason
    from tlsproxy.cli.either import VIA, by_proxy_or_here

    place, why = find_place(store, config), Reason(reason)
    key = _key(place, which, source)
    done = by_proxy_or_here(
        place,
        "remove",
        lambda client: client.remove(key, VIA, why),
        lambda held: held.remove(key, via=VIA, reason=why),
    )
    return tell(done, "removed", as_json=as_json)


def _key(
    place: Whereabouts, which: str | None, source: str | None, *, also_gone: bool = False
) -> tuple[Source, str]:
    """Find the slot that is meant; `also_gone`: it may have been removed."""
    from tlsproxy.cli.choosing import choose_slot
    from tlsproxy.cli.views import view_of

    with view_of(place) as view:
        metas = view.metas()
        slot = choose_slot(view.slots(), metas, which, source)
        if slot is None and also_gone:
            gone: dict[tuple[Source, str], Slot] = {}
            for generation in view.generations(100):
                for one in generation.slots:
                    gone.setdefault(one.key, one)
            slot = choose_slot(list(gone.values()), metas, which, source)
    if slot is None:
        raise UsageError(f"there is no certificate {which}", "see which there are: tlsproxy certs list")
    return slot.key


def _waiting(place: Whereabouts) -> str:
    from tlsproxy.cli.views import view_of

    with view_of(place) as view:
        waiting = [slot.receipt for slot in view.slots() if not slot.is_confirmed]
    if not waiting:
        hint = "what became of it: tlsproxy certs history"
        raise UsageError("no certificate waits for confirmation", hint)
    if len(waiting) > 1:
        raise UsageError(f"several wait for confirmation: {', '.join(waiting)}", "name one of these receipts")
    return waiting[0]


def tell(done: Done[Receipt], what: str, *, as_json: bool) -> int:
    """Say what became of it; gives the exit code."""
    from certstore import State

    receipt = done.value
    refused = receipt.state is State.REFUSED
    if as_json:
        click.echo(json.dumps({**receipt.to_json(), "running": done.is_running}, indent=2))
    elif refused:
        for finding in receipt.findings:
            if finding.is_error:
                complain(f"refused: {finding.words} [{finding.code}]", finding.hint)
    else:
        if any(finding.code == "nothing_to_change" for finding in receipt.findings):
            what = "nothing has changed"
        click.echo(f"{what}: generation {receipt.generation}, receipt {receipt.id}")
        if not done.is_running:
            click.echo("no proxy runs on this store: it is served from the next start")
        for finding in receipt.findings:
            click.echo(f"{finding.severity}: {finding.words} [{finding.code}]")
    return ExitCode.FAILED if refused else ExitCode.DONE
