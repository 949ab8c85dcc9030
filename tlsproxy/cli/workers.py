"""`tlsproxy workers`: the worker processes, and by which certificates their connections were made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import click

from tlsproxy.cli.columns import show_columns
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import asking, find_proxy, place_options

__all__ = ["workers"]


@dataclass(frozen=True, slots=True)
class _Connections:
    generation: int
    connections: int


@dataclass(frozen=True, slots=True)
class _Worker:
    """A worker as the API tells of it; a running proxy of an older version leaves the last two out."""

    pid: int
    seat: int
    epoch: int
    stage: str
    generation: int | None
    connections: int
    generations: tuple[_Connections, ...] = ()
    since: datetime | None = None

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "since": self.since and self.since.isoformat()}


@click.command(
    short_help="List the worker processes and their connections.",
    epilog=examples("tlsproxy workers", "tlsproxy workers --store ./store --json"),
)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def workers(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """List the worker processes of the running proxy, those too that only finish what is open.

    A connection belongs to the generation by whose certificate it was made, so the table shows whom an older
    certificate still serves. What is in no generation is in its handshake, or is plain HTTP.

    Ends with 1 where no proxy runs.
    """
    with asking(find_proxy(store, config)) as client:
        found = [_dated(one) for one in client.workers(_Worker)]
    if as_json:
        click.echo(json.dumps({"workers": [one.to_json() for one in found]}, indent=2))
    else:
        heads = ("pid", "seat", "stage", "generation", "connections", "by generation", "since (UTC)")
        show_columns(heads, [_row(one) for one in found])


def _dated(one: _Worker) -> _Worker:
    """Look ourselves since when it runs, where the proxy can't: its unit may hide processes from it."""
    from tlsproxy.observe.processes import is_ours, started_at

    if one.since is not None or not is_ours(one.pid):
        return one
    return replace(one, since=started_at(one.pid))


def _row(one: _Worker) -> Sequence[str]:
    made_by = [f"{each.generation}: {each.connections}" for each in one.generations]
    return (
        str(one.pid),
        str(one.seat),
        one.stage,
        "in memory" if one.generation is None else str(one.generation),
        str(one.connections),
        ", ".join(made_by) or "-",
        f"{one.since:%Y-%m-%d %H:%M:%S}" if one.since is not None else "?",
    )
