"""`tlsproxy certs ban`, `bans`: keys that are never served again.

A key is named by the SHA-256 of its SPKI, as `certs show` tells it, or by a file that holds it or a
certificate for it. A file's contents stay here; only the hash goes to the proxy.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.columns import show_columns
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import find_place, place_options
from tlsproxy.cli.reverting import tell
from tlsproxy.errors import UsageError

if TYPE_CHECKING:
    from certstore import Bundle
    from tlsproxy.cli.places import Whereabouts

__all__ = ["ban", "bans"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
_HASH = re.compile(r"[0-9a-f]{64}")


@click.command(
    short_help="Never serve a key again.",
    epilog=examples(
        "tlsproxy certs ban stolen.key --yes",
        "tlsproxy certs ban 9f2c6e1b04d7a8535c11e0f7b3a94d6288cafe015577aa33be46d08912f4c7d0 --yes",
    ),
)
@click.argument("key", metavar="SPKI|FILE")
@click.option("--yes", is_flag=True, help="Don't ask: a ban can't be taken back.")
@place_options
@_JSON
def ban(key: str, yes: bool, store: Path | None, config: Path | None, as_json: bool) -> int:  # noqa: FBT001
    """Never serve a key again, whoever brings it: others may know it.

    SPKI is the SHA-256 of the key, as `tlsproxy certs show` tells it; FILE holds the key, or a certificate
    for it. Where the key is in use, the next source's certificate takes its place, at last a new one of the
    device's own, and the connections that were made with it end. This can't be taken back.
    """
    from tlsproxy.cli.either import VIA, by_proxy_or_here

    place = find_place(store, config)
    spki = _spki_of(place, key)
    if not yes:
        if as_json or not _is_terminal():
            raise UsageError("a ban can't be taken back", "add --yes if that is meant")
        click.confirm(f"The key {spki} will never be served again. Go on?", abort=True)
    done = by_proxy_or_here(
        place,
        "ban",
        lambda client: client.ban(spki, VIA),
        lambda held: held.ban(spki, via=VIA, fresh=_fresh_identity),
    )
    return tell(done, "banned", as_json=as_json)


@click.command(
    short_help="List the keys that are never served again.",
    epilog=examples("tlsproxy certs bans", "tlsproxy certs bans --json"),
)
@place_options
@_JSON
def bans(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """List the keys that are never served again, since when, and by which way they were banned."""
    from tlsproxy.cli.views import view_of

    with view_of(find_place(store, config)) as view:
        found = view.bans()
    if as_json:
        click.echo(json.dumps({"bans": [one.to_json() for one in found]}, indent=2))
        return
    show_columns(
        ("since (UTC)", "generation", "via", "SPKI SHA-256"),
        [
            (f"{one.at:%Y-%m-%d %H:%M:%S}" if one.at else "?", str(one.since), one.via, one.spki)
            for one in found
        ],
    )


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _spki_of(place: Whereabouts, key: str) -> str:
    """Give the hash of the key that is meant."""
    text = key.lower().replace(":", "")
    if not _HASH.fullmatch(text):
        return _spki_in(Path(key))
    from tlsproxy.cli.views import view_of

    with view_of(place) as view:
        for meta in view.metas().values():
            if text in {meta.fingerprint, meta.id} and text != meta.spki:
                raise UsageError("this is the hash of a certificate", f"its key has this one: {meta.spki}")
    return text


def _spki_in(path: Path) -> str:
    """Give the hash of the one key that a file is about."""
    from certstore.contents import read_content
    from tlsproxy.cli.handing_in import read_files

    candidate, unreadable = read_files([str(path)])
    if unreadable:
        raise UsageError(unreadable[0].words, unreadable[0].hint)
    content = read_content(path.name, candidate.files[0][1])
    if content.errors:
        raise UsageError(content.errors[0].words, content.errors[0].hint)
    leaves = [one.spki for one in content.certificates if not one.is_authority]
    found = {one.spki for one in content.keys} or set(leaves or [one.spki for one in content.certificates])
    if len(found) != 1:
        raise UsageError(f"{path} is about several keys", "name one by its hash: tlsproxy certs show")
    return found.pop()


def _fresh_identity() -> Bundle:
    """Make the device another identity; a proxy that starts has it issued anew where a name is missing."""
    from datetime import UTC, datetime

    from certstore.issuers import selfsigned
    from tlsproxy import device
    from tlsproxy.config import IdentityConfig

    return selfsigned.issue(device.identity(IdentityConfig()), selfsigned.new_key(), datetime.now(UTC))
