"""Where the store and the control socket are: by `--store`, by `--config`, by the environment, by custom.

The options that `certs` and `status` share, and the one answer that they give.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource

from tlsproxy.errors import UsageError

if TYPE_CHECKING:
    from certstore import Comparison
    from tlsproxy.config.values import Config, TLSConfig

F = TypeVar("F", bound=Callable[..., object])

# Where the packages put it; used when nothing else is named and it is there.
USUAL_CONFIG = Path("/etc/tlsproxy/tlsproxy.toml")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A store, its inbox and control socket; how its proxy speaks TLS, and user and group where named."""

    store: Path
    inbox: Path
    control: Path
    tls: TLSConfig | None = None
    user: str = ""
    group: str = ""
    configured: Config | None = None
    """All that the configuration file says, where one names this place."""


def place_options(command: F) -> F:
    """Give a command the options `--store` and `--config`, as parameters `store` and `config`."""
    # readable=False: what can't be read is told when it is used, with a hint that helps.
    store = click.option(
        "--store",
        type=click.Path(path_type=Path, file_okay=False, readable=False),
        envvar="TLSPROXY_STORE",
        help="The store's folder, for a proxy that was started with --store.",
    )
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False, readable=False),
        envvar="TLSPROXY_CONFIG",
        help=f"The proxy's configuration file [default: {USUAL_CONFIG}, if there].",
    )
    return store(config(command))


def find_place(store: Path | None, config: Path | None) -> Whereabouts:
    """Tell where things are. What stands on the command line wins over the environment.

    Raises:
        UsageError: nothing is named and nothing is where custom has it, or both are named.
        ConfigError: the configuration file is wrong.

    """
    if store is not None and config is not None:
        store, config = _typed(store, config)
    if store is not None and config is not None:
        raise UsageError("--store and --config exclude each other", "the configuration file names the store")
    if store is not None:
        folder = store.absolute()
        return Whereabouts(folder, folder / "inbox", folder / "run" / "control.sock")
    if config is None and not USUAL_CONFIG.exists():
        raise UsageError(
            "which proxy? name its store or its configuration", "add --store DIR or --config FILE"
        )
    from tlsproxy.config.reading import load

    found = load(config or USUAL_CONFIG)
    return Whereabouts(
        found.store, found.inbox, found.control_socket, found.tls, found.user, found.group, found
    )


def compared(place: Whereabouts) -> Comparison:
    """Say what certificates are compared with there: by its configuration, else with the system's roots."""
    from certstore import Comparison
    from tlsproxy.device import comparison

    return Comparison() if place.configured is None else comparison(place.configured)


def as_typed() -> str:
    """Give `--store` or `--config` as it was typed, with a blank before it: for a command to be pasted."""
    context = click.get_current_context()
    for name in ("store", "config"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            return f" --{name} {shlex.quote(str(context.params[name]))}"
    return ""


def _typed(store: Path, config: Path) -> tuple[Path | None, Path | None]:
    """Leave out the one of both that only the environment names, where the other was typed."""
    context = click.get_current_context()
    environment = ParameterSource.ENVIRONMENT
    of_store, of_config = map(context.get_parameter_source, ("store", "config"))
    if of_store is of_config:
        return store, config
    return (None, config) if of_store is environment else (store, None)
