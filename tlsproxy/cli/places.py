"""Where the store and the control socket are: by `--store`, `--config`, `--control`, the environment, custom.

The options that all commands about a proxy share, and the one answer that they give.

Theory. Three kinds of people ask. Who runs the proxy by hand names its store. Who looks after a device has
its configuration file. And who was named under `[control]` may ask, but read neither: he names the socket.
What was typed wins over the environment; a socket that was typed goes with a store or file that was typed.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource

from tlsproxy.errors import ConfigError, NotRunningError, UsageError

if TYPE_CHECKING:
    from certstore import Comparison
    from tlsproxy.config.values import Config, TLSConfig
    from tlsproxy.control.client import Client

__all__ = [
    "USUAL_CONFIG",
    "Whereabouts",
    "as_typed",
    "asking",
    "compared",
    "find_place",
    "find_proxy",
    "place_in",
    "place_options",
    "somewhere_else",
]

F = TypeVar("F", bound=Callable[..., object])

# Where the packages put them; used when nothing else is named and they are there.
USUAL_CONFIG = Path("/etc/tlsproxy/tlsproxy.toml")
USUAL_CONTROL = Path("/run/tlsproxy/control.sock")
_NAME = "control.sock"
_SOCKET = "tlsproxy.control"  # in the meta of click's context
# /proc/net/unix has a line for each socket of the machine; a path is at most 107 bytes.
_LISTENING = "/proc/net/unix"
_LISTENS = "00010000"  # __SO_ACCEPTCON of linux/net.h
_MOST_BYTES = 4_194_304


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A control socket; store and inbox where known; TLS, user, group, identity where they are named."""

    known: tuple[Path, Path] | None
    control: Path
    tls: TLSConfig | None = None
    user: str = ""
    group: str = ""
    configured: Config | None = None
    """All that the configuration file says, where one names this place."""

    @property
    def store(self) -> Path:
        """The store's folder. Raises UsageError where only the socket was named."""
        return self._known()[0]

    @property
    def inbox(self) -> Path:
        """The inbox. Raises UsageError as `store`."""
        return self._known()[1]

    def _known(self) -> tuple[Path, Path]:
        if self.known is None:
            hint = "name it: --store DIR or --config FILE; --control alone asks a proxy that runs"
            raise UsageError("this needs the store itself", hint)
        return self.known


def place_options(command: F) -> F:
    """Give a command `--store` and `--config`, as parameters `store` and `config`, and `--control`."""
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
    control = click.option(
        "--control",
        type=click.Path(path_type=Path, dir_okay=False, readable=False),
        envvar="TLSPROXY_CONTROL",
        expose_value=False,
        callback=_note_socket,
        help="The running proxy's control socket, for who may ask it but not read the other two.",
    )
    return store(config(control(command)))


def _note_socket(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        typed = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        context.meta[_SOCKET] = (value.absolute(), typed)
    return value


def find_place(store: Path | None, config: Path | None) -> Whereabouts:
    """Tell where things are. What stands on the command line wins over the environment.

    Raises:
        UsageError: nothing is named and nothing is where custom has it, or both are named.
        ConfigError: the configuration file is wrong.

    """
    context = click.get_current_context(silent=True)
    socket, is_typed = (None, False) if context is None else context.meta.get(_SOCKET, (None, False))
    typed = [name for name in ("store", "config") if context is not None and _is_typed(context, name)]
    if socket is not None and typed and not is_typed:
        socket = None
    if is_typed and not typed:
        store = config = None
    if store is not None and config is not None:
        store, config = _typed(store, config)
    if store is not None and config is not None:
        raise UsageError("--store and --config exclude each other", "the configuration file names the store")
    if store is None and config is None and socket is not None:
        return Whereabouts(None, socket)
    place = _of_store(store) if store is not None else _of_file(config)
    return place if socket is None else replace(place, control=socket)


def find_proxy(store: Path | None, config: Path | None) -> Whereabouts:
    """Tell the same for a command that only asks: a file that is wrong is told, and passed by.

    What runs has read it before it was wrong. Raises UsageError; ConfigError where the file doesn't even say
    where the socket is.
    """
    try:
        return find_place(store, config)
    except ConfigError as error:
        place = place_in(config or USUAL_CONFIG)
        if not place.control.exists():
            raise
        click.echo(f"tlsproxy: warning: {error}; asking the proxy that runs", err=True)
        return place


def _of_store(store: Path) -> Whereabouts:
    folder = store.absolute()
    return Whereabouts((folder, folder / "inbox"), folder / "run" / _NAME)


def _of_file(config: Path | None) -> Whereabouts:
    file = config or USUAL_CONFIG
    try:
        is_there = file.exists()
    except PermissionError:
        is_there = True  # in a folder that is closed to us
    if config is None and not is_there:
        raise UsageError(
            "which proxy? name its store or its configuration", "add --store DIR or --config FILE"
        )
    if is_there and not os.access(file, os.R_OK):
        with suppress(PermissionError):
            if config is None and USUAL_CONTROL.exists():
                return Whereabouts(None, USUAL_CONTROL)
        raise UsageError(f"{file} can't be read: permission denied", _OTHERWISE)
    from tlsproxy.config.reading import load

    found = load(file)
    known = (found.store, found.inbox)
    return Whereabouts(known, found.control_socket, found.tls, found.user, found.group, found)


_OTHERWISE = (
    "run this as root or the proxy's user; who is named under [control]: --control RUNTIME/control.sock"
)


def place_in(config: Path) -> Whereabouts:
    """Find store and socket in a file that is wrong, as far as they stand in it; else nowhere."""
    try:
        found = tomllib.loads(config.read_text("utf-8-sig"))
    except (OSError, ValueError):
        found = {}
    inbox = found.get("inbox")
    folder = config.absolute().parent
    store = folder / str(found.get("store") or "there-is-none")
    runtime = folder / str(found.get("runtime") or store / "run")
    given = inbox.get("path") if isinstance(inbox, dict) else None
    return Whereabouts((store, folder / str(given or store / "inbox")), runtime / _NAME)


@contextmanager
def asking(place: Whereabouts) -> Iterator[Client]:
    """Ask the proxy, which must run, while the block runs. Raises NotRunningError, and what Client raises."""
    from tlsproxy.control.client import Client

    try:
        with Client(place.control) as client:
            yield client
    except NotRunningError as error:
        raise somewhere_else(error) from None


def somewhere_else(error: NotRunningError) -> NotRunningError:
    """Say so where another socket than the one that was asked is listened on: perhaps that is meant.

    A file that names another store or `runtime` than what runs leads to where nobody is.
    """
    others = sorted(_control_sockets() - {error.path})
    if not others:
        return error
    hint = f"{error.hint}; or is it one that answers elsewhere? --control {' or '.join(others[:3])}"
    return NotRunningError(error.path, hint)


def _control_sockets() -> set[str]:
    try:
        with open(_LISTENING, "rb") as file:  # noqa: PTH123  no path of ours
            lines = file.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return set()
    # proc(5): number, references, protocol, flags, type, state, inode, path
    found = [line.split(maxsplit=7) for line in lines]
    paths = {one[7] for one in found if len(one) == 8 and one[3] == _LISTENS}
    return {path for path in paths if path.startswith("/") and path.endswith(f"/{_NAME}")}


def compared(place: Whereabouts) -> Comparison:
    """Say what certificates are compared with there: by its configuration, else with the system's roots."""
    from certstore import Comparison
    from tlsproxy.device import comparison

    return Comparison() if place.configured is None else comparison(place.configured)


def as_typed() -> str:
    """Give the options that say which proxy, as they were typed, with a blank before: to be pasted."""
    context = click.get_current_context()
    told = ""
    for name in ("store", "config"):
        if _is_typed(context, name):
            told += f" --{name} {shlex.quote(str(context.params[name]))}"
    socket, is_typed = context.meta.get(_SOCKET, (None, False))
    return f"{told} --control {shlex.quote(str(socket))}" if is_typed else told


def _is_typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _typed(store: Path, config: Path) -> tuple[Path | None, Path | None]:
    """Leave out the one of both that only the environment names, where the other was typed."""
    context = click.get_current_context()
    environment = ParameterSource.ENVIRONMENT
    of_store, of_config = map(context.get_parameter_source, ("store", "config"))
    if of_store is of_config:
        return store, config
    return (None, config) if of_store is environment else (store, None)
