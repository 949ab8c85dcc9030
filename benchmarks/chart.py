"""results.svg: a panel of bars for each figure, drawn by hand. Pure: values in, text out.

A bar is the median; the line with two ends over it goes from the least to the most, where there was more than
one value. A dashed line stands where an absolute target is. Every panel begins at nought, so that lengths can
be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.figures import Figure, Results, Spread

COLUMNS = 3
WIDTH, LABEL, BAR = 322, 122, 140
LINE, HEAD, GAP, MARGIN = 19, 44, 30, 24
TOP = 78
OURS, THEIRS = ("#1d4ed8", "#7da7f5"), "#c3cad5"
# Keeps a number readable where the line of a target crosses it.
_HALO = ' paint-order="stroke" stroke="#ffffff" stroke-width="3"'
INK, FAINT, ASKED = "#1f2937", "#6b7280", "#dc2626"


@dataclass(frozen=True, slots=True)
class Panel:
    """What one panel shows: a figure, whose scenario it is, and what is asked of us (absolute)."""

    figure: Figure
    caption: str
    asked: float | None = None


def text(x: float, y: float, words: str, more: str = "") -> str:
    """Write words at a place; `more` is attributes."""
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'


def _whisker(least: float, most: float, y: float) -> str:
    ends = f"M{least:.1f} {y - 4}V{y + 4}M{most:.1f} {y - 4}V{y + 4}"
    return f'<path d="M{least:.1f} {y}H{most:.1f}{ends}" stroke="{INK}" stroke-width="1.2" fill="none"/>'


def _bar(y: int, name: str, value: Spread, scale: float, digits: int, colour: str) -> tuple[list[str], str]:
    """Draw a row; its number apart, which goes on top of everything."""
    middle, length = y + LINE / 2, max(value.median * scale, 1.0)
    least, most = (LABEL + max(edge, 0.0) * scale for edge in (value.least, value.most))
    weight = ' font-weight="600"' if colour in OURS else ""
    where = f'x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="{LINE - 6}"'
    lines = [
        text(LABEL - 7, middle + 4, name, f' text-anchor="end"{weight}'),
        f'<rect {where} rx="1.5" fill="{colour}"/>',
    ]
    if value.least != value.most:
        lines.append(_whisker(least, most, middle))
    words = f"{value.median:,.{digits}f}"
    return lines, text(max(most, LABEL + length) + 6, middle + 4, words, weight + _HALO)


def _asked(asked: float, scale: float, bottom: int) -> str:
    x = LABEL + asked * scale
    return (
        f'<path d="M{x:.1f} {HEAD - 2}V{bottom}" stroke="{ASKED}" stroke-width="1" stroke-dasharray="3 3"/>'
    )


def colours_of(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Give each server its colour: ours two blues, in their order, the others grey."""
    return {name: OURS[place % len(OURS)] for place, name in enumerate(ours)} | dict.fromkeys(theirs, THEIRS)


def panel(content: Panel, results: Results, colours: Mapping[str, str]) -> tuple[str, int]:
    """Draw one figure; gives the drawing and its height. Who has no value has no bar."""
    figure = content.figure
    known = [(name, value) for name in colours if (value := results.of(figure.key, name))]
    most = max([value.most for _, value in known] + [content.asked or 0.0]) or 1.0
    scale, bottom = BAR / most, HEAD + len(known) * LINE
    direction = "more is better" if figure.more_is_better else ""
    caption = "; ".join(filter(None, (content.caption, direction)))
    lines = [
        text(0, 14, figure.title, ' font-size="13" font-weight="600"'),
        text(0, 30, caption, f' fill="{FAINT}"'),
    ]
    numbers = []
    for row, (name, value) in enumerate(known):
        drawn, number = _bar(HEAD + row * LINE, name, value, scale, figure.digits, colours[name])
        lines += drawn
        numbers.append(number)
    lines.append(f'<path d="M{LABEL} {HEAD - 2}V{bottom}" stroke="{FAINT}" stroke-width="1"/>')
    if content.asked is not None:
        lines.append(_asked(content.asked, scale, bottom))
    lines += numbers
    return "\n".join(lines), bottom


def _legend(ours: Sequence[str], width: int) -> str:
    parts = [text(MARGIN, 34, "tlsproxy beside its peers", ' font-size="18" font-weight="600"')]
    x = MARGIN
    for name, colour in (*zip(ours, OURS, strict=False), ("the peers", THEIRS)):
        parts += [
            f'<rect x="{x}" y="47" width="12" height="12" rx="1.5" fill="{colour}"/>',
            text(x + 18, 57, name),
        ]
        x += 150
    parts += [_whisker(x, x + 24, 53), text(x + 32, 57, "least to most, over the rounds")]
    x += 225
    parts += [
        f'<path d="M{x} 47V60" stroke="{ASKED}" stroke-dasharray="3 3"/>',
        text(x + 8, 57, "what is asked of us"),
        text(
            width - MARGIN,
            34,
            "less is better, unless it says otherwise",
            f' text-anchor="end" fill="{FAINT}"',
        ),
    ]
    return "\n".join(parts)


def svg(panels: Sequence[Panel], results: Results, ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Draw all figures that anybody has a value for."""
    colours = colours_of(ours, theirs)
    drawn = [panel(one, results, colours) for one in panels if results.values.get(one.figure.key)]
    width, y = 2 * MARGIN + COLUMNS * WIDTH + (COLUMNS - 1) * GAP, TOP + GAP // 2
    parts = [_legend(ours, width)]
    for start in range(0, len(drawn), COLUMNS):
        row = drawn[start : start + COLUMNS]
        for column, (content, _) in enumerate(row):
            place = f"translate({MARGIN + column * (WIDTH + GAP)},{y})"
            parts.append(f'<g transform="{place}">\n{content}\n</g>')
        y += max(height for _, height in row) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" '
        f"font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"11\" "
        f'fill="{INK}">\n<rect width="{width}" height="{y}" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
