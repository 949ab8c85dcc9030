"""`tlsproxy completion`: what a shell wants to be told to complete our commands and options."""

from __future__ import annotations

import click

from tlsproxy.cli.examples import examples

__all__ = ["completion"]

# click's own name for it: _PROG_COMPLETE
_VARIABLE = "_TLSPROXY_COMPLETE"


@click.command(
    short_help="Print what completes commands in your shell.",
    epilog=examples(
        "source <(tlsproxy completion bash)                    # for this bash only",
        "tlsproxy completion bash > /usr/share/bash-completion/completions/tlsproxy",
        "tlsproxy completion zsh > /usr/share/zsh/site-functions/_tlsproxy",
        "tlsproxy completion fish > ~/.config/fish/completions/tlsproxy.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for SHELL, by which it completes commands, options and files of `tlsproxy`.

    The script asks `tlsproxy` itself at each Tab, so it stays right after an upgrade. bash must be
    4.4 or later.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    root = context.find_root()
    click.echo(found(root.command, {}, "tlsproxy", _VARIABLE).source())
