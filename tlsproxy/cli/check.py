"""`tlsproxy check`: all that is wrong with a configuration file, each with its key and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import USUAL_CONFIG
from tlsproxy.errors import ExitCode, Mistake, PrivilegeError

if TYPE_CHECKING:
    from tlsproxy.config import Config
    from tlsproxy.config.reading import Reading


@click.command(
    short_help="Say all that is wrong with a configuration file.",
    epilog=examples(
        "tlsproxy check --config ./tlsproxy.toml",
        "tlsproxy check --config ./tlsproxy.toml --json",
        "tlsproxy check --image ./rootfs",
    ),
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, readable=False),
    envvar="TLSPROXY_CONFIG",
    default=USUAL_CONFIG,
    show_default=True,
    help="The configuration file.",
)
@click.option(
    "--image",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Instead: say whether this root file system, which is to become an image, holds keys.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def check(config: Path, image: Path | None, as_json: bool) -> int:  # noqa: FBT001  click passes flags so
    """Say all that is wrong with a configuration file, not only the first; changes nothing.

    Ends with 0 where the file is good (advice doesn't count), with 2 where it isn't. With --image: with 1
    where a certificate store in it holds keys, which every unit that is made of the image would share.
    """
    from tlsproxy.config.reading import read_file

    if image is not None:
        from tlsproxy.cli.image import check_image

        return check_image(image, as_json=as_json)
    reading = read_file(config)
    if as_json:
        click.echo(json.dumps(_document(config, reading), indent=2))
    else:
        for mistake in reading.mistakes:
            _say(config, "error", mistake)
        for advice in (*reading.advice, *_lacking(reading)):
            _say(config, "advice", advice)
        if reading.config is not None:
            click.echo(f"{config}: good: {_summary(reading)}")
    return ExitCode.DONE if reading.config is not None else ExitCode.MISUSE


def _lacking(reading: Reading) -> tuple[Mistake, ...]:
    """Say what there isn't on this machine: advice, since a file may be checked on another one."""
    config = reading.config
    if config is None:
        return ()
    lacking = (_lacking_user, _lacking_engine, _lacking_files, _lacking_trust)
    return tuple(mistake for look in lacking for mistake in look(config))


def _lacking_user(config: Config) -> Iterator[Mistake]:
    from tlsproxy.privilege.account import named

    try:
        if config.user:
            named(config.user, config.group)
    except PrivilegeError as error:
        yield Mistake("user", None, f"{error} on this machine: root couldn't start it", error.hint)


def _lacking_engine(config: Config) -> Iterator[Mistake]:
    from tlsproxy.tls.engines import EngineLacks, resolve

    try:
        resolve(config.tls.engine, config.tls.policy)
    except EngineLacks as error:
        yield Mistake("tls.engine", None, f"{error} on this machine: it wouldn't start", error.hint)


def _lacking_files(config: Config) -> Iterator[Mistake]:
    from tlsproxy.upstreamterms import mistakes, terms_of

    return mistakes(terms_of(config.routes))


def _lacking_trust(config: Config) -> Iterator[Mistake]:
    """Say which trust sets aren't in the store, where there is one here that may be read."""
    from certstore import StoreError
    from tlsproxy.trustsets import lacking

    with suppress(StoreError, OSError):
        for finding in lacking(config.store, config.client_auth):
            yield Mistake("client_auth", None, finding.words, finding.hint)


def _say(config: Path, kind: str, mistake: Mistake) -> None:
    """Write as compilers do, so that editors find the line."""
    place = f"{config}:{mistake.line}" if mistake.line is not None else str(config)
    key = f"{mistake.key}: " if mistake.key else ""
    click.echo(f"{place}: {kind}: {key}{mistake.why}")
    if mistake.hint:
        click.echo(f"    hint: {mistake.hint}")


def _summary(reading: Reading) -> str:
    assert reading.config is not None
    parts = {"listener": len(reading.config.listeners), "route": len(reading.config.routes)}
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for what, count in parts.items())


def _document(config: Path, reading: Reading) -> dict[str, object]:
    def listed(mistakes: tuple[Mistake, ...]) -> list[dict[str, object]]:
        return [{"key": m.key, "line": m.line, "why": m.why, "hint": m.hint} for m in mistakes]

    good = reading.config is not None
    return {
        "file": str(config),
        "good": good,
        "mistakes": listed(reading.mistakes),
        "advice": listed((*reading.advice, *_lacking(reading))),
    }
