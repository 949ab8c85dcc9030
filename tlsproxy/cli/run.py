"""`tlsproxy run`: the proxy itself, in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tlsproxy import checked, policy
from tlsproxy.cli.examples import examples
from tlsproxy.errors import UsageError

if TYPE_CHECKING:
    from tlsproxy.app import Program
    from tlsproxy.config import Config
    from tlsproxy.config.values import Workers
    from tlsproxy.observe.log import Format
    from tlsproxy.privilege.account import Account


class _WorkersType(click.ParamType[int | Literal["auto"]]):
    """A number of workers, or "auto"."""

    name = "workers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["auto"]:
        if value == "auto":
            return "auto"
        return int(click.IntRange(1, policy.WORKERS_MOST).convert(value, param, ctx))


AS_PROGRAM = object()
"""The root context's `obj` where this process is the command, so that it may execute itself anew."""


@click.command(
    short_help="Run the proxy.",
    epilog=examples(
        "tlsproxy run --config /etc/tlsproxy/tlsproxy.toml",
        "tlsproxy run --listen 127.0.0.1:8443 --upstream http://127.0.0.1:3000 --store ./store",
        "tlsproxy run --listen :443 --upstream http://127.0.0.1:3000 --upstream /api=unix:/run/api.sock ...",
    ),
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    envvar="TLSPROXY_CONFIG",
    help="The configuration file.",
)
@click.option(
    "--listen", multiple=True, metavar="ADDR", help="Without a file: where clients connect. Repeatable."
)
@click.option(
    "--upstream",
    multiple=True,
    metavar="[PATH=]URL",
    help="Without a file: the service behind, http(s)://host:port or unix:/path. Repeatable.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    envvar="TLSPROXY_STORE",
    help="Without a file: the folder for keys and certificates.",
)
@click.option(
    "--workers",
    type=_WorkersType(),
    metavar="N|auto",
    help="Processes that serve connections; auto: one a processor, 4 at most [default: the file's, or auto].",
)
@click.option(
    "--user",
    metavar="NAME[:GROUP]",
    help="Started as root: whom to be once ports are open [default: the file's, or the store's owner].",
)
@click.option(
    "--unsafe-as-root",
    is_flag=True,
    envvar="TLSPROXY_UNSAFE_AS_ROOT",
    help="Started as root: stay root, whoever there is to become. For trials and tests in containers.",
)
@click.option(
    "--log",
    type=click.Choice(["auto", "console", "json"]),
    help="How events are written to stderr; auto is console on a terminal, JSON elsewhere"
    " [default: the file's, or auto].",
)
def run(  # noqa: PLR0913  one an option
    config: Path | None,
    listen: tuple[str, ...],
    upstream: tuple[str, ...],
    store: Path | None,
    workers: Workers | None,
    *,
    user: str | None,
    unsafe_as_root: bool,
    log: Format | None,
) -> None:
    """Run the proxy in the foreground, until SIGTERM or Ctrl-C.

    The first start makes the device its own key and certificate; from then on, whatever is put into the
    store's inbox takes effect by itself. SIGHUP, or `tlsproxy reload`, takes up a changed file and new code
    without dropping a connection. Started as root it opens its ports, and then becomes another user.
    """
    is_program = click.get_current_context().find_root().obj is AS_PROGRAM
    if is_program:  # SIGHUP would end us (its default): who asks for a reload now gets it when we serve
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    handed = checked.find(os.environ) if is_program else None
    content = checked.take(handed) if handed is not None else b""
    wanted, content = _wanted(config, listen, upstream, store, content)
    if workers is not None:
        wanted = replace(wanted, workers=workers)
    if user is not None:
        wanted = _as_user(wanted, user)
    if log is not None:
        wanted = replace(wanted, log=replace(wanted.log, format=log))

    from tlsproxy.observe.log import configure, flush

    configure(wanted.log.format, level=wanted.log.level)
    try:
        if _run(wanted, is_program=is_program, unsafe_as_root=unsafe_as_root) and handed is not None:
            checked.put(handed, content)
    finally:
        flush()  # what is told of the end stands behind it


def _as_user(wanted: Config, user: str) -> Config:
    from tlsproxy.config.reading import parse_account

    name, colon, group = user.partition(":")
    try:
        return replace(wanted, user=parse_account(name), group=parse_account(group) if colon else "")
    except ValueError as error:
        raise UsageError(
            f"--user {error}", "name a user of this system, or a user and a group: NAME:GROUP"
        ) from None


def _run(wanted: Config, *, is_program: bool, unsafe_as_root: bool) -> bool:
    """Run the proxy; or only try it, for a reload: then it is True."""
    import trio

    from tlsproxy import app, preflight
    from tlsproxy.privilege.account import choose
    from tlsproxy.signals import let_in

    if not is_program:
        trio.run(app.run, wanted)
        return False
    account = choose(wanted.user, wanted.group, wanted.store, unsafe_as_root=unsafe_as_root)
    if tried := os.environ.pop(preflight.ENVIRONMENT, ""):
        let_in()
        trio.run(preflight.run, wanted, int(tried))
        return True
    _allow_descriptors()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who started us may have had no interest in children
    trio.run(partial(app.run, wanted, program=_program(account)))
    return False


def _program(account: Account | None) -> Program:
    """Take what this process was started with: by the image before a reload, or by systemd."""
    from tlsproxy import app, handover
    from tlsproxy.net.inherited import take_inherited

    handed_over = handover.receive(os.environ)
    inherited = () if handed_over is not None else take_inherited(os.environ)
    # Python's ssl would obey it (create_default_context), and some builds of OpenSSL.
    return app.Program(handed_over, inherited, account, key_log=os.environ.pop("SSLKEYLOGFILE", ""))


def _allow_descriptors() -> None:
    """Raise the soft limit to the hard one: a client takes two, and 1,024 is for those who use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _wanted(
    config: Path | None,
    listen: tuple[str, ...],
    upstream: tuple[str, ...],
    store: Path | None,
    content: bytes,
) -> tuple[Config, bytes]:
    """Say what is wanted, and by which bytes of a file; `content`: those that a pre-flight has read."""
    from tlsproxy.config.arguments import from_arguments
    from tlsproxy.config.reading import load_content

    # What stands on the command line wins over what the environment names.
    if listen or upstream:
        if config is not None and _is_given("config"):
            raise UsageError("--config excludes --listen and --upstream", "put them into the file")
        if store is None:
            raise UsageError("where shall keys and certificates be kept?", "add --store DIR")
        return from_arguments(listen, upstream, store), b""
    if store is not None and _is_given("store"):
        if config is not None:
            raise UsageError("--config excludes --store", 'the file names it: store = "DIR"')
        return from_arguments(listen, upstream, store), b""
    if config is None:
        raise UsageError("nothing to run", "add --config FILE, or --listen, --upstream and --store")
    return load_content(config, content)


def _is_given(option: str) -> bool:
    """Say whether an option stands on the command line, not only in the environment."""
    return click.get_current_context().get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE
