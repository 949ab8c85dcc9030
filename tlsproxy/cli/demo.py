"""`tlsproxy demo`: a sample device behind the proxy, to look at (tlsproxy/demo)."""

from __future__ import annotations

from pathlib import Path

import click

from tlsproxy.cli.examples import examples
from tlsproxy.errors import ExitCode


@click.group(
    invoke_without_command=True,
    short_help="Show a sample device behind the proxy.",
    epilog=examples("tlsproxy demo", "tlsproxy demo --listen 127.0.0.1:9443 --dir /tmp/demo"),
)
@click.option(
    "--listen", default="localhost:8443", show_default=True, metavar="ADDR", help="Where to listen."
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".demo"),
    show_default=True,
    help="Where the sample device keeps its state.",
)
@click.pass_context
def demo(context: click.Context, listen: str, folder: Path) -> int:
    """Show a sample device behind the proxy, on https://localhost:8443, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return ExitCode.DONE

    from tlsproxy.demo import main

    return main(listen=listen, folder=folder)


@demo.command(
    hidden=True,
    short_help="Drop another certificate into the demo's inbox.",
    epilog=examples("tlsproxy demo certificate", "tlsproxy demo --dir /tmp/demo certificate --key rsa"),
)
@click.option("--key", "key_type", type=click.Choice(["ec", "rsa"]), default="ec", show_default=True)
@click.pass_context
def certificate(context: click.Context, key_type: str) -> None:
    """Make another certificate for the demo, and drop it into its inbox."""
    from tlsproxy.demo import drop_certificate

    assert context.parent is not None
    drop_certificate(context.parent.params["folder"], key_type)
