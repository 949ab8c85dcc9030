"""`tlsproxy certs csr names`: names a certificate could be asked for; proposed, never used by itself."""

from __future__ import annotations

import json

import click

from tlsproxy.cli.examples import examples

__all__ = ["propose"]


@click.command(
    "names",
    short_help="Propose names to ask a certificate for.",
    epilog=examples("tlsproxy certs csr names", "tlsproxy certs csr names --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def propose(as_json: bool) -> None:  # noqa: FBT001
    """Propose names to ask a certificate for: those by which the network knows this device.

    Asks this machine's resolver what its stable addresses are called, and whether those names, and its own
    name in its search domains, lead back to it. Nothing is used or changed: pick yourself, with
    `tlsproxy certs csr --name`. Takes five seconds at the most.
    """
    import socket

    import trio

    from tlsproxy.discovery import discover, read_domains
    from tlsproxy.net.addresses import stable_addresses

    found = trio.run(discover, stable_addresses(), socket.gethostname(), read_domains())
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    for name, why in found.proposed.items():
        click.echo(f"proposed: {name}: {why}")
    for name, why in found.doubtful.items():
        click.echo(f"not proposed: {name}: {why}")
    if found.proposed:
        click.echo(f"to ask for one: tlsproxy certs csr --name {next(iter(found.proposed))}")
    else:
        click.echo(
            "the network knows no name of this device: ask whoever runs it, or name its address (--ip)"
        )
