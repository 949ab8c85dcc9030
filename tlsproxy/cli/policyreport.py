"""`tlsproxy policy report`: what clients were here, and whom a stricter TLS profile would cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.columns import show_columns
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import asking, find_proxy, place_options

if TYPE_CHECKING:
    from tlsproxy.observe.clientreport import ClientReport

__all__ = ["report"]

_SHOWN = 20  # lines of each table; --json has all


@click.command(
    short_help="Say whom a stricter profile would cut off.",
    epilog=examples("tlsproxy policy report", "tlsproxy policy report --store ./store --json"),
)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def report(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001  click passes flags so
    """Say what the clients of the running proxy can do, and who of them a stricter profile would cut off.

    Counted are connections since the service was started, not people: look again after a week, and after
    whatever comes once a month. Who is refused already is told by why, and by the JA4 fingerprint of his
    software, which tells one program from another and nobody's name.

    Ends with 1 where no proxy runs.
    """
    with asking(find_proxy(store, config)) as client:
        found = client.client_report()
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    click.echo(f"since {found.since:%Y-%m-%d %H:%M:%S} UTC")
    for one in found.cut_off:
        click.echo(
            f"{one.profile:<8} would cut off {one.count} of {one.of} connections{_share(one.count, one.of)}"
        )
    _show(found)


def _show(found: ClientReport) -> None:
    tables = (
        (
            "what clients can do",
            ("version", "keys", "key exchange", "connections"),
            [(one.version, one.keys, one.exchange, str(one.count)) for one in found.hellos],
        ),
        (
            "what was negotiated",
            ("version", "group", "cipher", "resumed", "handshakes"),
            [
                (one.version, one.group, one.cipher, "yes" if one.resumed else "no", str(one.count))
                for one in found.handshakes
            ],
        ),
        (
            "who was refused",
            ("why", "JA4", "connections"),
            [(one.reason, one.ja4, str(one.count)) for one in found.refused],
        ),
    )
    for title, heads, rows in tables:
        if rows:
            click.echo(f"\n{title}")
            show_columns(heads, rows[:_SHOWN])
            if len(rows) > _SHOWN:
                click.echo(f"and {len(rows) - _SHOWN} more: --json has them")


def _share(count: int, of: int) -> str:
    return f" ({100 * count / of:.3g} %)" if of else ""
