"""`tlsproxy reload`: the running proxy takes up a changed file, and new code; no connection is lost."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import asking, find_place, place_options
from tlsproxy.errors import ControlError, ReloadError

# After the pre-flight the new image starts and replaces every worker.
_PATIENCE_S = 60.0
_LOOK_S = 0.05


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
    deadline, process = time.monotonic() + _PATIENCE_S, None
    while time.monotonic() < deadline:
        try:
            with asking(place) as client:
                process = client.status().process
        except ControlError:  # between two images nobody answers for a moment
            process = None
        if process is not None and process.epoch >= epoch:
            told = {"pid": process.pid, "version": process.version, "epoch": process.epoch}
            words = f"reloaded: process {process.pid}, version {process.version}"
            click.echo(json.dumps(told, indent=2) if as_json else words)
            return
        time.sleep(_LOOK_S)
    if process is not None:
        raise ReloadError("the new version could not be executed after all", "the proxy's log says why")
    raise ControlError(str(place.control), "the new image does not answer", "look at the proxy's log")
