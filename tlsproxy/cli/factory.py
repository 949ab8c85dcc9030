"""`tlsproxy factory`: a device gets its identity for life, on a production line.

Made for scripts: every command may be given again, after a power cut too, and comes to the same end; `--json`
prints one document whatever happens; the exit code says whether to go on (0), to look at this device (1), to
mend the script (2), or to give the same command again (75).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.endings import complain
from tlsproxy.cli.examples import examples
from tlsproxy.cli.places import Whereabouts, find_place, place_options
from tlsproxy.errors import ExitCode, ProxyError

if TYPE_CHECKING:
    from certstore import Finding, Receipt, Store
    from certstore.factorystate import FactoryState
    from tlsproxy.control.client import Client
    from tlsproxy.observe.audit import Actor, AuditLog

__all__ = ["factory"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, also where it fails.")


@click.group(
    short_help="Give the device its identity for life, on a production line.",
    epilog=examples(
        "tlsproxy factory provision --serial PX-000123 --name px-000123.devices.example > device.csr",
        "tlsproxy factory install device.pem chain.pem --json",
        "tlsproxy label --svg --out label.svg",
    ),
)
def factory() -> None:
    """Give the device its identity for life: a key made here, a certificate of its manufacturer, sealed."""


@factory.command(
    short_help="Make the device's key, and print the request for its certificate.",
    epilog=examples(
        "tlsproxy factory provision --serial PX-000123 --name px-000123.devices.example > device.csr",
        "tlsproxy factory provision --config /etc/tlsproxy/tlsproxy.toml --json",
    ),
)
@click.option("--serial", help="The device's serial number [default: identity.serial, else the firmware's].")
@click.option(
    "--name",
    "names",
    multiple=True,
    help="A name or address that it keeps for its life; several with several [default: identity.names].",
)
@click.option("--unsafe-reseal", is_flag=True, help="Ask once more for the key that is sealed already.")
@place_options
@_JSON
def provision(
    serial: str | None,
    names: tuple[str, ...],
    unsafe_reseal: bool,  # noqa: FBT001
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Make the device's key, here and once, and print the request (PKCS#10) that its manufacturer signs.

    Given again it prints the very same request. With another serial number or name it prints a new one for
    the same key. On a device that is provisioned already it prints none, and ends with 0.
    """
    place = find_place(store, config)
    return _ended(lambda: _provision(place, serial, names, unsafe_reseal=unsafe_reseal), as_json=as_json)


@factory.command(
    short_help="Take the manufacturer's certificate, and seal it.",
    epilog=examples(
        "tlsproxy factory install device.pem chain.pem",
        "curl -f --data-binary @device.csr https://ca.factory.example/sign | tlsproxy factory install -",
    ),
)
@click.argument("files", metavar="CERT [CHAIN]...", nargs=-1, required=True)
@click.option(
    "--unsafe-reseal", is_flag=True, help="Put it in the place of another one that is sealed already."
)
@place_options
@_JSON
def install(
    files: tuple[str, ...],
    unsafe_reseal: bool,  # noqa: FBT001
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Take the certificate that was made from this device's request, and seal it for the device's life.

    CERT and CHAIN are files in any order and form that `tlsproxy certs import` takes; - reads from stdin. The
    same certificate again changes nothing, and ends with 0. Another one is refused. Clients get it wherever
    the customer has none of their own.
    """
    place = find_place(store, config)
    return _ended(lambda: _install(place, files, unsafe_reseal=unsafe_reseal), as_json=as_json)


@factory.command(
    short_help="Say what the device has of its manufacturer.",
    epilog=examples("tlsproxy factory show", "tlsproxy factory show --store ./store --json"),
)
@place_options
@_JSON
def show(store: Path | None, config: Path | None, as_json: bool) -> int:  # noqa: FBT001
    """Say what the device has of its manufacturer: nothing, a request that waits, or its identity."""
    place = find_place(store, config)
    return _ended(lambda: _Report(_state(place)), as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Report:
    """How a command went: what there is now, and what became of a certificate."""

    state: FactoryState
    receipt: Receipt | None = None
    unreadable: tuple[Finding, ...] = ()
    prints_request: bool = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.receipt.findings if self.receipt is not None else self.unreadable

    @property
    def error(self) -> Finding | None:
        """What refused it, where it was refused; a receipt that ends well has no error."""
        return next((one for one in self.findings if one.is_error), None)

    def to_json(self) -> dict[str, object]:
        from tlsproxy.control.values import findings_to_json

        error, state, receipt = self.error, self.state.to_json(), self.receipt
        if receipt is not None:
            state["receipt"] = receipt.id
        return {
            **state,
            "changed": receipt is not None and error is None and "already_live" not in receipt.codes,
            "findings": findings_to_json(self.findings),
            "error": _error(error.code, error.words, error.hint) if error is not None else None,
        }


def _error(code: str, words: str, hint: str, *, again: bool = False) -> dict[str, object]:
    return {"code": code, "words": words, "hint": hint, "again": again}


def _ended(act: Callable[[], _Report], *, as_json: bool) -> int:
    """Do it, and tell how it went, in JSON where that is wanted; gives the exit code."""
    from certstore import RandomNotReady, Refusal, StoreError, StoreLocked

    try:
        report = act()
    except (StoreError, ProxyError) as error:
        again = isinstance(error, StoreLocked | RandomNotReady)
        told = _error(error.code, str(error), error.hint, again=again)
        code = ExitCode.AGAIN if again else getattr(error, "exit_code", ExitCode.FAILED)
    except Refusal as refusal:
        first = next(finding for finding in refusal.findings if finding.is_error)
        told, code = _error(first.code, first.words, first.hint), ExitCode.FAILED
    else:
        if as_json:
            click.echo(json.dumps(report.to_json(), indent=2))
        else:
            _tell(report)
        return ExitCode.DONE if report.error is None else ExitCode.FAILED
    if as_json:
        click.echo(json.dumps({"state": None, "changed": False, "error": told}, indent=2))
    complain(f"{told['words']} [{told['code']}]", str(told["hint"]))
    return code


def _provision(
    place: Whereabouts, serial: str | None, names: tuple[str, ...], *, unsafe_reseal: bool
) -> _Report:
    from tlsproxy.cli.either import whichever
    from tlsproxy.config.values import IdentityConfig
    from tlsproxy.device import factory_identity
    from tlsproxy.provisioning import REQUEST

    wanted = _normal(names)
    default = factory_identity(place.configured.identity if place.configured else IdentityConfig())
    _wait_random()

    def ask(client: Client) -> FactoryState:
        return client.request_factory(serial, wanted, unsafe_reseal=unsafe_reseal)

    def act(held: Store) -> FactoryState:
        return held.factory.request(default, serial=serial, names=wanted, unsafe_reseal=unsafe_reseal)

    def note(log: AuditLog, actor: Actor, state: FactoryState) -> None:
        log.note(actor, REQUEST, str(state.stage), serial=state.serial, spki=state.spki)

    return _Report(whichever(place, ask, act, note).value, prints_request=True)


def _normal(names: tuple[str, ...]) -> tuple[str, ...] | None:
    from certstore import normalise
    from tlsproxy.errors import UsageError

    try:
        return tuple(map(normalise, names)) or None
    except ValueError as error:
        raise UsageError(f"a name can't be used: {error}", "tlsproxy factory provision --help") from error


def _wait_random() -> None:
    """Wait until a key may be made; who waits too long is told by whoever would make it."""
    from certstore import random_ready
    from tlsproxy import policy, policy_factory

    until = time.monotonic() + policy_factory.RANDOM_WAIT_S
    while not random_ready() and time.monotonic() < until:
        time.sleep(policy.RANDOM_POLL_S)  # the kernel tells nobody when it is


def _install(place: Whereabouts, files: tuple[str, ...], *, unsafe_reseal: bool) -> _Report:
    from tlsproxy.cli.either import VIA, whichever
    from tlsproxy.cli.examining import examiner_here
    from tlsproxy.cli.handing_in import read_files

    candidate, unreadable = read_files(files)
    if unreadable:
        return _Report(_state(place), unreadable=unreadable)

    def ask(client: Client) -> tuple[Receipt, FactoryState]:
        receipt = client.install_factory(candidate, VIA, unsafe_reseal=unsafe_reseal)
        return receipt, client.factory()

    def act(held: Store) -> tuple[Receipt, FactoryState]:
        door, examiner = held.factory, examiner_here(place, held)
        receipt = door.install(candidate, via=VIA, examiner=examiner, unsafe_reseal=unsafe_reseal)
        return receipt, door.state()

    def note(log: AuditLog, actor: Actor, done: tuple[Receipt, FactoryState]) -> None:
        log.note_receipt(actor, done[0], "factory_install")

    receipt, state = whichever(place, ask, act, note).value
    return _Report(state, receipt)


def _state(place: Whereabouts) -> FactoryState:
    """Ask the running proxy what there is, or read it where none runs."""
    from certstore.provisioning import read_factory
    from tlsproxy.control.client import Client
    from tlsproxy.errors import NotRunningError

    try:
        with Client(place.control) as client:
            return client.factory()
    except NotRunningError:
        return read_factory(place.store)


def _tell(report: _Report) -> None:
    """Tell it to a person: what goes on in a pipe (a request, facts) on stdout, the rest on stderr."""
    from certstore.factorystate import Stage

    state = report.state
    if report.prints_request and state.request:
        click.echo(state.request, nl=False)
    for finding in report.findings:
        if finding.is_error:
            complain(f"refused: {finding.words} [{finding.code}]", finding.hint)
        else:
            click.echo(f"{finding.severity}: {finding.words} [{finding.code}]", err=True)
    match state.stage:
        case Stage.EMPTY:
            click.echo("nothing yet: tlsproxy factory provision makes a key, and asks for its certificate")
        case Stage.WAITING if not report.prints_request:
            click.echo("a request waits for its certificate: tlsproxy factory provision prints it")
        case Stage.PROVISIONED if report.prints_request:
            words = "it is not changed" if not state.request else "the request is for the key that it has"
            click.echo(f"this device has its identity already; {words}", err=True)
    if not report.prints_request and state.stage is not Stage.EMPTY:
        _tell_facts(state)


def _tell_facts(state: FactoryState) -> None:
    from certstore.fingerprints import grouped

    facts = (
        ("serial", state.serial),
        ("names", ", ".join(state.names)),
        ("key", f"{state.key_type}, SHA-256 {grouped(state.spki)}"),
        ("certificate", f"SHA-256 {grouped(state.fingerprint)}" if state.fingerprint else ""),
        ("valid until", f"{state.not_after:%Y-%m-%d %H:%M} UTC" if state.not_after is not None else ""),
        ("receipt", f"{state.receipt}, sealed" if state.sealed else state.receipt),
    )
    for label, words in facts:
        if words:
            click.echo(f"{label:12} {words}")
