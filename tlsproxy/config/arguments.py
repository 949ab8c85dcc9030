"""A configuration from a command line: `--listen`, `--upstream` and `--store`, and defaults for all else.

The same values, checks and words as for a file; a mistake names the option instead of a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlsproxy.config.addresses import parse_listen, parse_upstream
from tlsproxy.config.consistency import Draft, find_contradictions
from tlsproxy.config.lines import Path as KeyPath
from tlsproxy.config.reading import parse_route_path
from tlsproxy.config.tables import Notes
from tlsproxy.config.values import Config, ListenerConfig, RouteConfig
from tlsproxy.errors import ConfigError

_OPTIONS = {"listener": "--listen", "route": "--upstream", "store": "--store", "runtime": "--store"}


def from_arguments(listen: Sequence[str], upstream: Sequence[str], store: Path) -> Config:
    """Make a configuration of what stands on a command line.

    listen: addresses of TLS listeners; upstream: `URL` (the route "/") or `/path=URL`; store: the store's
    folder.

    Raises:
        ConfigError: something is wrong or missing; carries all mistakes.

    """
    notes = Notes(name=lambda path: _OPTIONS.get(str(path[0]), str(path[0])))
    folder = store.absolute()
    draft = Draft(store=folder, runtime=folder / "run")
    for index, text in enumerate(listen):
        try:
            draft.listeners["listener", index] = ListenerConfig(text, *parse_listen(text))
        except ValueError as error:
            notes.note(("listener", index), str(error))
    for index, text in enumerate(upstream):
        try:
            draft.routes["route", index] = _route(text)
        except ValueError as error:
            notes.note(("route", index), str(error))
    for path, why, hint in find_contradictions(draft, notes.concerns):
        notes.note(path, why, _for_options(path, hint))
    if notes.mistakes:
        raise ConfigError(notes.mistakes)
    return draft.finished()


def _route(text: str) -> RouteConfig:
    path, equals, url = text.partition("=")
    if text.startswith("/") and equals:
        return RouteConfig(parse_route_path(path), parse_upstream(url))
    return RouteConfig("/", parse_upstream(text))


def _for_options(path: KeyPath, hint: str) -> str:
    """Say the hint in the words of the command line where it speaks of keys of a file."""
    match path[0]:
        case "listener" if len(path) == 1:
            return "add --listen 127.0.0.1:8443"
        case "route" if len(path) == 1:
            return "add --upstream http://127.0.0.1:3000"
        case "runtime":
            return "name a shorter folder: --store DIR"
    return hint
