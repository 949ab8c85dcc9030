"""`tlsproxy certs`: what is done with certificates; here `import`, all else in files beside this one.

What shows them is in listing.py, what takes them back in reverting.py, what bans keys in banning.py. With a
running proxy the files go to its control socket. Without one the store is opened here, under its lock, and
the same checks and handshakes are made: what is accepted is served from the next start.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.banning import ban, bans
from tlsproxy.cli.endings import complain
from tlsproxy.cli.examples import examples
from tlsproxy.cli.listing import export, history, list_, show
from tlsproxy.cli.places import as_typed, find_place, place_options
from tlsproxy.cli.requests import csr
from tlsproxy.cli.reverting import REASON, confirm, remove, rollback
from tlsproxy.errors import ExitCode
from tlsproxy.policy import PROBATION_MOST_S, PROBATION_S

if TYPE_CHECKING:
    from certstore import Finding
    from tlsproxy.cli.handing_in import Outcome


@click.group(
    short_help="Hand in certificates, look at them, take them back.",
    epilog=examples(
        "tlsproxy certs import device.pem device.key",
        "tlsproxy certs list",
        "tlsproxy certs rollback",
        "tlsproxy certs history --limit 5",
    ),
)
def certs() -> None:
    """Hand in certificates, look at them, and take them back."""


for _command in (list_, show, history, export, rollback, confirm, remove, ban, bans, csr):
    certs.add_command(_command)


@certs.command(
    "import",
    short_help="Put a certificate into effect.",
    epilog=examples(
        "tlsproxy certs import fullchain.pem privkey.pem",
        "tlsproxy certs import --store ./store device.crt device.key ca.crt",
        "cat device.pem | tlsproxy certs import - --json",
        "tlsproxy certs import device.p12 --passphrase-file ./passphrase",
        "tlsproxy certs import ec.pem ec.key rsa.pem rsa.key     # both, to each client the one it can use",
        "tlsproxy certs import device.pem --confirm-within 300     # goes back unless confirmed in 5 minutes",
        "tlsproxy certs import new.pem --dry-run     # what would be said of it, and whom it would keep out",
        "tlsproxy certs import new.pem --reason key-compromise     # bans the key of the one before for good",
        'tlsproxy certs import "$RENEWED_LINEAGE"/{fullchain,privkey}.pem     # as a hook of certbot',
    ),
)
@click.argument("files", metavar="CERT [KEY] [CHAIN]...", nargs=-1, required=True)
@click.option(
    "--confirm-within",
    type=click.IntRange(0, PROBATION_MOST_S),
    metavar="SECONDS",
    help="Go back to the certificate before, unless `tlsproxy certs confirm` comes in time; 0: never"
    f" [default: {PROBATION_S} on a terminal while the proxy runs, else 0].",
)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="The file whose first line opens what is protected, - for stdin [default: a prompt on a terminal,"
    " where a file needs one].",
)
@click.option(
    "--beside",
    is_flag=True,
    help="Keep the certificate with the other kind of key (EC, RSA) that is there for the same names: each"
    " client gets the one that it can use.",
)
@click.option("--dry-run", is_flag=True, help="Only find out what would become of it, and of the clients.")
@REASON
@place_options
@click.option("--json", "as_json", is_flag=True, help="Answer with the receipt in JSON.")
def import_(  # noqa: PLR0913, PLR0917  one an option
    files: tuple[str, ...],
    confirm_within: int | None,
    passphrase_file: Path | None,
    beside: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    reason: str,
    store: Path | None,
    config: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Put a certificate into effect, and wait until it is: no connection is dropped.

    CERT, KEY and CHAIN are files in any order and of any usual form: PEM, DER, PKCS #7, PKCS #12, or a zip or
    tar of such. One file may hold everything, and - reads from stdin. KEY may be left out where the device
    already has it. A certificate that isn't good changes nothing. Two certificates for the same names, one
    with an EC key and one with an RSA key, given at once, are both served, to each client what it can use.

    On a terminal the change waits for confirmation: if nobody can reach the device with the new certificate,
    nobody confirms, and it goes back by itself.

    Ends with 0 when the certificate is live, with 1 when it was refused.
    """
    place = find_place(store, config)
    from certstore import Reason
    from tlsproxy.cli.handing_in import Probation, hand_in, read_files
    from tlsproxy.cli.passphrase import opened

    candidate, unreadable = read_files(files)
    if not unreadable:
        candidate = opened(candidate, files, passphrase_file)
    if dry_run:
        from tlsproxy.cli.rehearsing import rehearsed

        return rehearsed(place, candidate, unreadable, beside=beside, as_json=as_json)
    probation = Probation(confirm_within, is_terminal=sys.stdout.isatty() and not as_json)
    outcome = hand_in(place, candidate, unreadable, probation, Reason(reason), beside=beside)
    if as_json:
        click.echo(json.dumps(outcome.to_json(), indent=2))
    elif outcome.is_refused:
        _tell_refusal(outcome)
    else:
        _tell_success(outcome)
    return ExitCode.FAILED if outcome.is_refused else ExitCode.DONE


def _tell_success(outcome: Outcome) -> None:
    from certstore import State

    receipt = outcome.receipt
    assert receipt is not None
    number = f"generation {receipt.generation}, receipt {receipt.id}"
    if outcome.is_running:
        click.echo(f"live: {number}")
    else:
        click.echo(f"stored: {number}")
    if receipt.state is State.LIVE and receipt.confirm_within_s is not None:
        seconds = f"{receipt.confirm_within_s:g} seconds"
        click.echo(f"probation: it goes back by itself in {seconds}, unless you confirm:")
        click.echo(f"    tlsproxy certs confirm {receipt.id}{as_typed()}")
        if outcome.confirm_word:
            click.echo("or, better, from where the device is used, by its name (docs/certificates.md):")
            click.echo(f"    curl -fd {outcome.confirm_word} https://DEVICE/.well-known/tlsproxy/confirm")
    else:
        click.echo("probation: none; the certificate stays until another takes its place")
    if not outcome.is_running:
        if outcome.new_store is not None:
            click.echo(f"there was no store at {outcome.new_store}: it was made just now")
        click.echo("no proxy runs on this store: it is served from the next start")
    for finding in receipt.findings:
        _tell(finding)


def _tell_refusal(outcome: Outcome) -> None:
    for finding in outcome.findings:
        if finding.is_error:
            complain(f"refused: {finding.words} [{finding.code}]", finding.hint)
    for finding in outcome.findings:
        if not finding.is_error:
            _tell(finding, err=True)


def _tell(finding: Finding, *, err: bool = False) -> None:
    click.echo(f"{finding.severity}: {finding.words} [{finding.code}]", err=err)
    if finding.hint:
        click.echo(f"    hint: {finding.hint}", err=err)
