"""The status for a person at a terminal: rich's only host.

The same facts and words as `observe.rendering.render`, with colour where something wants attention.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from certstore.fingerprints import in_lines
from tlsproxy.observe.expiry import Step
from tlsproxy.observe.rendering import (
    confinement_lines,
    receipt_line,
    remaining,
    waiting_lines,
    workers_words,
)
from tlsproxy.observe.status import BundleStatus, Rung, Status

_STYLES = {Step.NOTICE: "yellow", Step.WARNING: "yellow", Step.URGENT: "red", Step.EXPIRED: "red"}
_RUNG_STYLE = {
    Rung.WANTED: "green",
    Rung.FALLBACK: "yellow",
    Rung.GENERATED: "cyan",
    Rung.EXPIRED: "bold red",
    Rung.MEMORY: "bold red",
    Rung.NOTHING: "yellow",
}
_SEVERITY_STYLE = {"error": "bold red", "warning": "yellow"}

_GROUPS = 8  # a line, as on the label (certstore/label.py)


def show_status(status: Status, out: TextIO) -> None:
    """Write a status to a terminal."""
    # without emoji: in an address :ab: and :cd: would become pictures
    console = Console(file=out, highlight=False, emoji=False)
    console.print(_facts(status))
    for bundle in status.bundles:
        console.print()
        console.print(_certificate(bundle, status))
    if status.receipts:
        console.print()
        console.print("[bold]latest receipts[/bold]")
        for receipt in status.receipts[:5]:
            style = "red" if receipt.get("state") == "refused" else "default"
            console.print(f"  [{style}]{escape(receipt_line(receipt))}[/]")


def _facts(status: Status) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    running = status.process
    table.add_row(
        "tlsproxy",
        f"{running.version}, process {running.pid}, since {running.since:%Y-%m-%d %H:%M:%S} UTC"
        if running
        else "[yellow]not running[/yellow]; this is what its store says",
    )
    table.add_row("state", f"[{_RUNG_STYLE[status.rung]}]{status.rung.words}[/]")
    if not status.clock_plausible:
        table.add_row("clock", "[bold red]not plausible[/]: expiry is not judged until it is set")
    if status.software is not None:
        table.add_row("software", escape(status.software.words))
    plain = [("listening", f"{one.address} ({one.kind})") for one in status.listeners]
    for label, words in (*plain, *(("clients", one.words) for one in status.asked)):
        table.add_row(label, escape(words))
    if status.workers:
        table.add_row("workers", workers_words(status.workers))
    for upstream in status.upstreams:
        style = "default" if upstream.up else "bold red"
        table.add_row("upstream", f"[{style}]{escape(upstream.words)}[/]")
    if status.generation is not None:
        made = f"{status.generation}, {status.generation_at:%Y-%m-%d %H:%M:%S} UTC ({status.cause})"
        table.add_row("generation", escape(made))
    for kind, words in confinement_lines(status.confinement):
        table.add_row(kind, escape(words))
    for line in waiting_lines(status):
        table.add_row("waits", f"[yellow]{escape(line)}[/]")
    for trouble in status.troubles:
        style = _SEVERITY_STYLE.get(trouble.severity, "default")
        table.add_row(trouble.severity, f"[{style}]{escape(trouble.words)}[/]\nhint: {escape(trouble.hint)}")
    table.add_row("inbox", escape(status.place.inbox))
    table.add_row("store", escape(status.place.store))
    return table


def _certificate(bundle: BundleStatus, status: Status) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("[bold]certificate[/bold]", "\n".join(in_lines(bundle.fingerprint, _GROUPS)))
    table.add_row("  key", "\n".join(in_lines(bundle.spki, _GROUPS)))
    table.add_row("  served to", escape(", ".join(status.served_to(bundle.id))))
    owner = f"{bundle.source}, self-signed" if bundle.self_signed else bundle.source
    table.add_row("  source", f"{owner}; {bundle.key_type} key")
    table.add_row("  valid", _validity(bundle))
    return table


def _validity(bundle: BundleStatus) -> str:
    style = _STYLES.get(bundle.step, "default") if bundle.days_left >= 0 else "red"
    return (
        f"until {bundle.not_after:%Y-%m-%d %H:%M} UTC, [{style}]{remaining(bundle.days_left, bundle.step)}[/]"
    )


def show_rows(
    heads: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO, below: Collection[str] = ()
) -> None:
    """Write a table to a terminal. What is one word, such as a receipt's id, stays whole: people copy it.

    below: the columns that stand on a line of their own where the terminal is too narrow for all.
    """
    console = Console(file=out, highlight=False)
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    if below and sum(widths) + 2 * (len(widths) - 1) > console.width:
        _show_in_two_lines(heads, rows, console, below)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        are_words = all(" " not in row[number] for row in rows)
        table.add_column(head, overflow="fold", no_wrap=are_words)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def _show_in_two_lines(
    heads: Sequence[str], rows: Sequence[Sequence[str]], console: Console, below: Collection[str]
) -> None:
    """Write what is short in columns, and under each row the rest of it, folded at words if need be."""
    first = [at for at, head in enumerate(heads) if head not in below]
    second = [at for at, head in enumerate(heads) if head in below]
    widths = {at: max(len(row[at]) for row in (heads, *rows)) for at in first}
    for row, style in ((heads, "bold"), *((row, "") for row in rows)):
        line = "  ".join(row[at].ljust(widths[at]) for at in first).rstrip()
        console.print(line, style=style, markup=False, soft_wrap=True)
        if rest := "; ".join(row[at] for at in second if row[at]):
            console.print(Padding(Text(rest, style or "dim"), (0, 0, 0, 4), expand=False))
