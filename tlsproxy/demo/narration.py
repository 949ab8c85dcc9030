"""What the demo says on its terminal: where things are, then one line for every receipt.

Promises: text from values; colours only where a terminal shows them (click takes them out elsewhere).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from certstore import Bundle, Receipt, State
from certstore.fingerprints import grouped, in_lines
from tlsproxy.demo.front import Certificate

_LABEL = 14
_STATE = 11
_WIDTH = 100
_COLOURS = {State.REFUSED: "red", State.LIVE: "green", State.CONFIRMED: "green"}


@dataclass(frozen=True, slots=True)
class Scene:
    """What the first screen tells; `is_first` says that the certificate was made at this start."""

    url: str
    certificate: Certificate
    is_first: bool
    inbox: Path
    command: str
    remarks: tuple[str, ...] = ()


def labelled(label: str, *lines: str) -> str:
    """Write lines behind one label."""
    return "\n".join(
        f"  {name:{_LABEL}}{line}" for name, line in zip((label, *[""] * len(lines)), lines, strict=False)
    )


def print_of(fingerprint: str) -> tuple[str, str]:
    """Write a fingerprint in two lines that fit beside a label."""
    first, second = in_lines(fingerprint, 8)
    return f"SHA-256 {first}", f"        {second}"


def opening(scene: Scene) -> str:
    """Write the first screen."""
    said = "made for this device just now" if scene.is_first else "kept from before"
    return "\n".join(
        [
            click.style("tlsproxy demo: a sample device behind TLS", bold=True),
            "",
            labelled("open", click.style(scene.url, fg="cyan", bold=True)),
            labelled("certificate", *print_of(scene.certificate.fingerprint)),
            labelled("", f"({said}; your browser will warn: compare it, then go on)"),
            labelled("drop here", str(scene.inbox)),
            labelled("try", click.style(scene.command, bold=True)),
            *(labelled("", remark) for remark in scene.remarks),
            "",
            "Every certificate that is put into effect, or refused, is told below. Ctrl-C ends it.",
            "",
        ]
    )


def line(receipt: Receipt, bundle: Bundle | None) -> str:
    """Write what became of a candidate; `bundle` is what the receipt names, where it can be read."""
    # What is confirmed is live: on this terminal that is the word for it.
    word = "live" if receipt.state is State.CONFIRMED else str(receipt.state)
    state = click.style(f"{word:{_STATE}}", fg=_COLOURS.get(receipt.state, "yellow"), bold=True)
    owner = f"{receipt.source} ({receipt.via})"
    if receipt.state is State.REFUSED:
        return "\n".join([f"{state}{', '.join(_errors(receipt))}   {owner}", *_reasons(receipt)])
    facts = [f"generation {receipt.generation}", owner]
    if bundle is not None:
        facts += [f"{bundle.key_type:3}", f"SHA-256 {_short(bundle.fingerprint)}"]
    if receipt.live_at is not None and receipt.received_at is not None:
        facts.append(f"{1000 * (receipt.live_at - receipt.received_at).total_seconds():.0f} ms")
    return state + "   ".join(facts)


def _errors(receipt: Receipt) -> list[str]:
    return [finding.code for finding in receipt.findings if finding.is_error]


def _reasons(receipt: Receipt) -> Iterator[str]:
    for finding in receipt.findings:
        if finding.is_error:
            yield _indented(finding.words)
            if finding.hint:
                yield _indented(f"hint: {finding.hint}")


def _indented(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=" " * _STATE, subsequent_indent=" " * _STATE)


def _short(fingerprint: str) -> str:
    shown = grouped(fingerprint)
    return f"{shown[:9]}…{shown[-9:]}"
