"""The `tlsproxy` command: one file a group of commands; `main` is the entry point and ends them all alike.

Promises: exit codes as in `errors.ExitCode`; whatever goes wrong is one error line and at most one hint
line on stderr, never a traceback; Ctrl-C ends quietly. Commands import what they need when they run, so
that `--help` and completion are quick.

    run      the proxy itself                check    what is wrong with a configuration file
    reload   take up a changed file, new code
    certs    hand in certificates, look      status   what is served, until when
             at them, take them back         events   what happens, as it happens
    backup   all of it in a file, and back   workers  who serves whom
    device-ca  an authority of its own       policy   how TLS is spoken, and why
    reset    the factory's state; watches    demo     a sample device to look at
    support  what an engineer asks for       doctor   files, servers, this proxy: explained
    factory  an identity for life            label    the sticker
    acme     a certificate that renews itself  trust  whose clients are let in
    completion  for shells                   endings  how commands end
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from tlsproxy import __version__
from tlsproxy.cli.acme import acme
from tlsproxy.cli.backup import backup, restore
from tlsproxy.cli.certs import certs
from tlsproxy.cli.check import check
from tlsproxy.cli.completion import completion
from tlsproxy.cli.demo import demo
from tlsproxy.cli.deviceca import device_ca
from tlsproxy.cli.doctor import doctor
from tlsproxy.cli.endings import ended
from tlsproxy.cli.events import events
from tlsproxy.cli.examples import examples
from tlsproxy.cli.factory import factory
from tlsproxy.cli.label import label
from tlsproxy.cli.policy import policy
from tlsproxy.cli.reload import reload
from tlsproxy.cli.reset import reset, watches
from tlsproxy.cli.run import AS_PROGRAM, run
from tlsproxy.cli.status import status
from tlsproxy.cli.support import support
from tlsproxy.cli.trust import trust
from tlsproxy.cli.workers import workers

__all__ = ["main", "tlsproxy"]

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(
    context_settings=_SETTINGS,
    epilog=examples(
        "tlsproxy demo",
        "tlsproxy run --listen 127.0.0.1:8443 --upstream http://127.0.0.1:3000 --store ./store",
        "tlsproxy check --config /etc/tlsproxy/tlsproxy.toml",
        "tlsproxy certs import device.pem device.key",
        "tlsproxy status",
        "tlsproxy doctor",
    ),
)
@click.version_option(__version__, prog_name="tlsproxy", message="%(prog)s %(version)s")
def tlsproxy() -> None:
    """The TLS front end of a device: terminates TLS before its services, owns its certificates."""


for _command in (
    *(run, reload, check, certs, acme, status, workers, events, policy),
    *(device_ca, doctor, backup, restore, reset, watches, factory, label, support, completion, demo),
    trust,
):
    tlsproxy.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: this process's own) and give the exit code."""
    obj = AS_PROGRAM if arguments is None else None
    return ended(lambda: tlsproxy.main(arguments, prog_name="tlsproxy", standalone_mode=False, obj=obj))
