"""`tlsproxy backup` and `restore`: a store in one file, keys included, under a passphrase."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.endings import complain
from tlsproxy.cli.examples import examples
from tlsproxy.cli.newfile import write_new
from tlsproxy.cli.passphrase import first_line
from tlsproxy.cli.places import find_place, place_options
from tlsproxy.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from certstore import Receipt

__all__ = ["backup", "restore"]

_PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The file whose first line is the passphrase, - for stdin [default: a prompt on a terminal, else"
    " stdin].",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
_VIA = "cli"
_LOCK_WAIT_S = 1.0


@click.command(
    short_help="Write the store's certificates and keys into a file.",
    epilog=examples(
        "tlsproxy backup device.backup",
        "tlsproxy backup device.backup --passphrase-file /run/secrets/backup --json",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_PASSPHRASE
@place_options
@_JSON
def backup(
    file: Path,
    passphrase_file: Path | None,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Write every confirmed certificate with its key into FILE, encrypted by a passphrase.

    The proxy may run. FILE must not exist yet; only you can read it. Without the passphrase nobody can open
    it, you neither.
    """
    from certstore import BackupUnreadable, seal, take_backup

    place = find_place(store, config)
    if not place.store.is_dir():
        raise UsageError(f"there is no store at {place.store}", "name the folder that tlsproxy run was given")
    passphrase = _passphrase(passphrase_file, twice=True)
    taken = take_backup(place.store, datetime.now(UTC))
    try:
        sealed = seal(taken.to_bytes(), passphrase)
    except ValueError as error:
        raise BackupUnreadable(str(error)) from error
    write_new(file, sealed)
    if as_json:
        facts = {"file": str(file), "bytes": len(sealed), "generation": taken.generation}
        certificates = [{"source": str(s.source), "names": list(s.names)} for s in taken.slots]
        click.echo(json.dumps({**facts, "certificates": certificates}, indent=2))
    else:
        click.echo(f"written: {file}, {len(sealed)} bytes, {len(taken.slots)} certificates with their keys")


@click.command(
    short_help="Bring a backup back, here or on another device.",
    epilog=examples(
        "tlsproxy restore device.backup",
        "tlsproxy restore device.backup --identity     # this unit replaces the one that was backed up",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, readable=False))
@_PASSPHRASE
@click.option(
    "--identity",
    is_flag=True,
    help="The device's own certificate and its factory's too: only to replace a unit, else two have one key.",
)
@place_options
@_JSON
def restore(
    file: Path,
    passphrase_file: Path | None,
    identity: bool,  # noqa: FBT001
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Have the customer's and ACME's certificates of FILE instead of those that are here.

    The proxy must not run. Everything in FILE is proved before anything changes; then it is one change, which
    `tlsproxy certs rollback --to` can take back.
    """
    from certstore import Backup, State, unseal
    from tlsproxy.cli.either import audit, open_store, who_we_are
    from tlsproxy.cli.ownership import become_owner

    place = find_place(store, config)
    content = Backup.from_bytes(unseal(_read(file), _passphrase(passphrase_file, twice=False)))
    actor = who_we_are()
    become_owner(place)
    with open_store(place.store, _LOCK_WAIT_S) as held:
        receipt = held.restore(content, via=_VIA, identity=identity)
        audit(place.store, actor, "restore", receipt)
    if as_json:
        click.echo(json.dumps(receipt.to_json(), indent=2))
    else:
        _tell(receipt)
    return ExitCode.FAILED if receipt.state is State.REFUSED else ExitCode.DONE


def _tell(receipt: Receipt) -> None:
    if receipt.generation is not None:
        click.echo(f"restored: generation {receipt.generation}, receipt {receipt.id}")
        click.echo("it is served from the next start")
    for finding in receipt.findings:
        if finding.is_error:
            complain(f"refused: {finding.words} [{finding.code}]", finding.hint)
        else:
            click.echo(f"{finding.severity}: {finding.words} [{finding.code}]")


def _read(file: Path) -> bytes:
    from certstore.sealing import LARGEST

    with file.open("rb") as opened:
        return opened.read(LARGEST + 4096)  # what is longer can't be opened, and says so


def _passphrase(path: Path | None, *, twice: bool) -> str:
    """Get the passphrase: from a file's or stdin's first line, or from whoever sits at the terminal."""
    from certstore.sealing import LONGEST_PASSPHRASE, SHORTEST_PASSPHRASE

    if path is None and sys.stdin.isatty():
        said: str = click.prompt("passphrase", hide_input=True, err=True, confirmation_prompt=twice)
    else:
        said = first_line(path or Path("-"), LONGEST_PASSPHRASE)
    if not SHORTEST_PASSPHRASE <= len(said) <= LONGEST_PASSPHRASE:
        words = f"a passphrase has {SHORTEST_PASSPHRASE} to {LONGEST_PASSPHRASE} characters"
        hint = "give it on stdin, or name its file: --passphrase-file FILE"
        raise UsageError(words, hint if path in {None, Path("-")} else f"it is the first line of {path}")
    return said
