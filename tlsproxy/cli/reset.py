"""`tlsproxy reset` and `tlsproxy watches`: the factory's state, and what a reset leaves suspended.

With a running proxy they go by its control socket, and return when the change is live everywhere. Without
one they are made on the store, under its lock, and take effect at the next start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.endings import complain
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import Whereabouts, as_typed, find_place, place_options
from tlsproxy.errors import ExitCode, UsageError
from tlsproxy.scopes import SCOPES, USUAL, Word

if TYPE_CHECKING:
    from certstore import Bundle, Receipt, Store
    from tlsproxy.cli.either import Done

__all__ = ["reset", "watches"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.command(
    short_help="Bring back the factory's state.",
    epilog=examples(
        "tlsproxy reset --yes",
        "tlsproxy reset --yes --scope identity     # a new key for the device, all else stays",
        "tlsproxy reset --yes --scope all          # the audit log, too",
    ),
)
@click.option("--yes", is_flag=True, help="Do it: without this, only what would be erased is said.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([*SCOPES, "all"]),
    help="What is erased; can be given several times [default: customer, identity].",
)
@place_options
@_JSON
def reset(
    yes: bool,  # noqa: FBT001
    scopes: tuple[str, ...],
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Erase what the customer brought, and give the device a new key and certificate of its own.

    customer: the certificates of customer and ACME with their keys, waiting requests, accounts, what lies in
    the inbox, all receipts and former generations. Watched directories are suspended until somebody says
    `tlsproxy watches enable`.

    identity: the device's own key and certificate, and its own authority. New ones are made.

    audit: the audit log, which else stays.

    The factory's certificate stays always. What is erased comes back from a backup only. Erased files are
    removed, not overwritten: flash may hold their bytes until it uses the cells again.
    """
    from tlsproxy.cli.either import VIA, by_proxy_or_here

    words = _meant(scopes)
    place = find_place(store, config)
    if not yes:
        raise UsageError(f"this erases for good: {', '.join(words)}", "if that is meant, add --yes")
    done = by_proxy_or_here(
        place, "reset", lambda client: client.reset(words, VIA), partial(_reset_here, place, words)
    )
    return _tell(done, words, as_json=as_json)


@click.group(
    short_help="Watched directories after a reset.",
    epilog=examples("tlsproxy watches enable", "tlsproxy watches enable --config ./tlsproxy.toml"),
)
def watches() -> None:
    """Directories of other programs ([[watch]]), which a reset suspends."""


@watches.command(
    short_help="Have watched directories looked at again.", epilog=examples("tlsproxy watches enable")
)
@place_options
@_JSON
def enable(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Have watched directories looked at again, which a reset has suspended.

    What lies there is taken up at once: see first that nothing of the former owner's does.
    """
    from tlsproxy.cli.either import whichever

    done = whichever(
        find_place(store, config),
        lambda client: client.enable_watches(),
        lambda held: held.enable_watches(),
        lambda log, actor, changed: log.note(actor, "enable_watches", "done") if changed else None,
    )
    if as_json:
        click.echo(json.dumps({"enabled": True, "changed": done.value, "running": done.is_running}, indent=2))
    else:
        click.echo("watched directories are looked at" if done.value else "they were not suspended")


def _meant(scopes: Iterable[str]) -> tuple[Word, ...]:
    wanted = set(scopes)
    return tuple(word for word in SCOPES if word in wanted or "all" in wanted) or USUAL


def _reset_here(place: Whereabouts, words: Iterable[Word], held: Store) -> Receipt:
    """Reset a store that no proxy holds."""
    from certstore import random_ready
    from certstore.issuers import selfsigned
    from tlsproxy.cli.either import VIA
    from tlsproxy.config import IdentityConfig
    from tlsproxy.device import identity
    from tlsproxy.resetting import wish

    if not random_ready():
        raise UsageError("the system has gathered no randomness yet for a new key", "try again in a minute")

    def fresh() -> Bundle:
        named = place.configured.identity if place.configured is not None else IdentityConfig()
        who = identity(named)
        return selfsigned.issue(who, selfsigned.new_key(), datetime.now(UTC))

    return held.reset(wish(words, place.store, place.inbox, fresh), via=VIA)


def _tell(done: Done[Receipt], words: Iterable[str], *, as_json: bool) -> int:
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
        click.echo(f"erased: {', '.join(words)}; generation {receipt.generation}, receipt {receipt.id}")
        if not done.is_running:
            click.echo("no proxy runs on this store: it is served from the next start")
        for finding in receipt.findings:
            click.echo(f"{finding.severity}: {finding.words} [{finding.code}]\n    hint: {finding.hint}")
        if "customer" in words:
            click.echo(f"watched directories are suspended until: tlsproxy watches enable{as_typed()}")
    return ExitCode.FAILED if refused else ExitCode.DONE
