"""`tlsproxy reload`: the running proxy takes up a changed file, and new code; no connection is lost."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import asking, find_place, place_options
from tlsproxy.errors import ControlError, ReloadError

if TYPE_CHECKING:
    from tlsproxy.observe.status import Process, TroubleStatus

# After the pre-flight the new image starts and replaces every worker.
_PATIENCE_S = 60.0
_LOOK_S = 0.05
# What the file now asks for and the store doesn't have: it serves, but not everybody.
_TOLD = frozenset({"trust_missing", "trust_damaged"})


@click.command(
    short_help="Take up a changed configuration, and new code.",
    epilog=examples(
        "tlsproxy reload --config /etc/tlsproxy/tlsproxy.toml", "tlsproxy reload --store ./store --json"
    ),
)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def reload(store: Path | None, config: Path | None, as_json: bool) -> None:  # noqa: FBT001  click passes flags so
    """Have the running proxy take up its changed configuration file, and new code, as SIGHUP does.

    Returns when new workers serve. No connection is lost: what is open goes on in the old workers until it
    ends. What can't serve is refused first, with the reason, and then nothing has changed (exit code 1; 2
    where it is the file that --config names).
    """
    place = find_place(store, config)
    with asking(place) as client:
        epoch = client.reload()
    deadline, status = time.monotonic() + _PATIENCE_S, None
    while time.monotonic() < deadline:
        try:
            with asking(place) as client:
                status = client.status()
        except ControlError:  # between two images nobody answers for a moment
            status = None
        if status is not None and status.process is not None and status.process.epoch >= epoch:
            _tell(status.process, [one for one in status.troubles if one.code in _TOLD], as_json=as_json)
            return
        time.sleep(_LOOK_S)
    if status is not None:
        raise ReloadError("the new version could not be executed after all", "the proxy's log says why")
    raise ControlError(str(place.control), "the new image does not answer", "look at the proxy's log")


def _tell(process: Process, troubles: list[TroubleStatus], *, as_json: bool) -> None:
    if as_json:
        told = {"pid": process.pid, "version": process.version, "epoch": process.epoch}
        findings = [
            {"code": t.code, "severity": t.severity, "words": t.words, "hint": t.hint} for t in troubles
        ]
        click.echo(json.dumps({**told, "findings": findings}, indent=2))
        return
    click.echo(f"reloaded: process {process.pid}, version {process.version}")
    for one in troubles:
        click.echo(f"{one.severity}: {one.words} [{one.code}]\n    hint: {one.hint}", err=True)
