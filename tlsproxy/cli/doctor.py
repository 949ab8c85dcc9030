"""`tlsproxy doctor`: files, servers, or this device's own proxy, looked at and explained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.endings import is_plain
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import USUAL_CONFIG, compared, find_place, place_options
from tlsproxy.errors import ConfigError, ExitCode, UsageError

if TYPE_CHECKING:
    from certstore import Circumstances, Comparison
    from tlsproxy.cli.places import Whereabouts
    from tlsproxy.doctor.destination import Destination
    from tlsproxy.doctor.diagnosis import Diagnosis

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command(
    short_help="Look at certificate files, a server, or this proxy, and explain.",
    epilog=examples(
        "tlsproxy doctor                                # our own proxy, its store and its machine",
        "tlsproxy doctor fullchain.pem privkey.pem      # would they be accepted?",
        "tlsproxy doctor device.pem --against device.example.com,10.0.0.7",
        "tlsproxy doctor device.p12 --passphrase-file ./passphrase",
        "tlsproxy doctor https://device.example.com     # what does a server show?",
        "tlsproxy doctor 10.0.0.7:8443 --servername device.example.com",
    ),
)
@click.argument("what", metavar="[FILE...|https://HOST[:PORT]|HOST:PORT]", nargs=-1)
@click.option(
    "--against",
    metavar="NAME[,NAME]",
    default="",
    help="Names and addresses that the certificate in FILE should cover [default: identity.names].",
)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The file whose first line opens what is protected, - for stdin [default: a prompt on a terminal,"
    " where a file needs one].",
)
@click.option("--connect", metavar="HOST", default="", help="Connect there instead of to the server's name.")
@click.option("--servername", metavar="NAME", default="", help="Ask the server for this name.")
@place_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def doctor(  # noqa: PLR0913, PLR0917  click passes each option
    what: tuple[str, ...],
    against: str,
    passphrase_file: Path | None,
    connect: str,
    servername: str,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Look at certificate files, at a server, or (without arguments) at this proxy, and explain.

    Changes nothing, and needs no running proxy. Certificate files are examined as `certs import` would, in a
    process that they can't harm; - reads from stdin. A server is asked by TLS 1.3 and by TLS 1.2.

    Ends with 0 when the files would be accepted, clients accept the server, or all is well; else with 1.
    """
    destination = _destination(what, connect, servername)
    if passphrase_file is not None and (destination is not None or not what):
        raise UsageError("--passphrase-file is for files", "name those that it opens")
    if destination is not None:
        if against:
            raise UsageError("--against is for files", "--servername names what a server is asked for")
        diagnosis = _of_server(destination, _comparison(store, config))
    elif connect or servername:
        raise UsageError("--connect and --servername are for servers", "name one, as in https://device.test")
    elif what:
        diagnosis = _of_files(what, passphrase_file, against, store, config)
    else:
        diagnosis = _of_ourselves(store, config)
    if as_json:
        click.echo(json.dumps(diagnosis.to_json(), indent=2))
    else:
        _show(diagnosis)
    return ExitCode.DONE if diagnosis.is_well else ExitCode.FAILED


def _show(diagnosis: Diagnosis) -> None:
    plain = is_plain()
    for line, severity in diagnosis.lines():
        colour = None if plain or severity is None else _COLOURS[severity]
        click.echo(line if colour is None else click.style(line, fg=colour))


def _of_files(
    names: Sequence[str], passphrase: Path | None, against: str, store: Path | None, config: Path | None
) -> Diagnosis:
    from certstore import Reference
    from tlsproxy.cli.handing_in import read_files
    from tlsproxy.cli.passphrase import opened
    from tlsproxy.config.values import TLSConfig
    from tlsproxy.doctor.files import diagnose_files
    from tlsproxy.workers.examiner import ExaminerProcess

    candidate, unreadable = read_files(names)
    if candidate.files:
        candidate = opened(candidate, names, passphrase)
    place = _place(store, config)
    comparison = _comparison(store, config)
    tls = (place.tls if place is not None else None) or TLSConfig()
    with ExaminerProcess(tls.policy, tls.engine, comparison) as examiner:
        around = _around(_names(against))
        return diagnose_files(candidate, unreadable, examiner, Reference.open(comparison), around)


def _of_server(destination: Destination, comparison: Comparison) -> Diagnosis:
    from dataclasses import replace

    import trio

    from certstore import Reference
    from tlsproxy.doctor.server import diagnose_server
    from tlsproxy.doctor.visiting import look_at

    looks = trio.run(look_at, destination)
    # by which names this device is reached has nothing to do with another server
    reference = Reference.open(replace(comparison, reached_by=()))
    return diagnose_server(destination, looks, reference, _around(()))


def _of_ourselves(store: Path | None, config: Path | None) -> Diagnosis:
    from tlsproxy.cli.status import read_status
    from tlsproxy.doctor.own import Patient, diagnose_ourselves

    now = datetime.now(UTC)
    try:
        place = find_place(store, config)
    except ConfigError as error:
        return diagnose_ourselves(Patient(None, None, error), now)
    file = None if place.configured is None else config or USUAL_CONFIG
    return diagnose_ourselves(Patient(place, file, None, lambda: read_status(place)), now)


def _around(reached_by: tuple[str, ...]) -> Circumstances:
    from certstore import BUILD_DATE, Circumstances, clock_plausible

    now = datetime.now(UTC)
    return Circumstances(now, clock_plausible(now, BUILD_DATE, None), reached_by=reached_by)


def _place(store: Path | None, config: Path | None) -> Whereabouts | None:
    """Give where a proxy is, where one is named or custom has one: nothing here needs it."""
    if store is not None or config is not None:
        return find_place(store, config)
    try:
        return find_place(None, None) if USUAL_CONFIG.exists() else None
    except ConfigError:  # what is wrong with it is told by the doctor without arguments
        return None


def _comparison(store: Path | None, config: Path | None) -> Comparison:
    from certstore import Comparison

    place = _place(store, config)
    return Comparison() if place is None else compared(place)


def _names(text: str) -> tuple[str, ...]:
    from certstore import normalise

    names: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            names.append(normalise(part))
        except ValueError as error:
            raise UsageError(
                f"--against {part}: {error}", "names and addresses, separated by commas"
            ) from None
    return tuple(names)


def _destination(what: Sequence[str], connect: str, servername: str) -> Destination | None:
    """Say which server is meant, where one is: an https URL, or HOST:PORT that is no file's name."""
    from tlsproxy.doctor.destination import parse_destination

    for one in what:
        try:
            found = None if Path(one).exists() else parse_destination(one, connect, servername)
        except ValueError as error:
            raise UsageError(f"{one}: {error}", "as in https://device.example.com:8443") from None
        if found is not None:
            if len(what) > 1:
                raise UsageError("one server at a time, and no files beside it", "run it once for each")
            return found
    return None
