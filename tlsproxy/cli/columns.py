"""Tables of commands: with rich on a terminal, in plain columns in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

import click

from tlsproxy.cli.endings import is_plain

__all__ = ["show_columns"]


def show_columns(heads: Sequence[str], rows: Sequence[Sequence[str]], below: Collection[str] = ()) -> None:
    """Write a table; a pipe gets no blanks at the ends of lines, and each row on one, however long.

    below: the columns that stand on a line of their own where a terminal is too narrow for all.
    """
    if not is_plain() and rows:
        from tlsproxy.cli.tables import show_rows

        show_rows(heads, rows, sys.stdout, below)
        return
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    for row in (heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    if not rows:
        click.echo("none", err=True)  # for a person; who reads the table finds its head, and no row
