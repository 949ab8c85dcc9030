"""`tlsproxy demo`: a sample device behind the proxy, to look at (tlsproxy/demo)."""

from __future__ import annotations

from pathlib import Path

import click

from tlsproxy.cli.examples import examples


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
def demo(context: click.Context, listen: str, folder: Path) -> None:
    """Show a sample device behind the proxy, on https://localhost:8443."""
    if context.invoked_subcommand is None:
        from tlsproxy.demo import main

        main(listen=listen, folder=folder)
