"""results.svg: a panel of bars for each figure, drawn by hand. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.figures import Figure, Results, Spread

PANELS_A_ROW = 2
WIDTH, LABEL, BAR = 460, 130, 250
LINE, HEAD, GAP = 20, 34, 26
OURS, THEIRS, INK, SPREAD = "#2563eb", "#a8b0bc", "#1f2937", "#111827"


def _bar(y: int, name: str, value: Spread, scale: float, digits: int, *, own: bool) -> list[str]:
    middle, length = y + LINE // 2, max(value.median * scale, 1)
    least, most = LABEL + value.least * scale, LABEL + value.most * scale
    where = f'x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="{LINE - 6}"'
    return [
        f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
        f'<rect {where} rx="2" fill="{OURS if own else THEIRS}"/>',
        f'<path d="M{least:.1f} {middle}H{most:.1f}" stroke="{SPREAD}" stroke-width="1.5"/>',
        f'<text x="{most + 6:.1f}" y="{middle + 4}">{value.median:.{digits}f}</text>',
    ]


def panel(figure: Figure, results: Results, ours: Sequence[str], names: Sequence[str]) -> tuple[str, int]:
    """Draw one figure; gives the drawing and its height. Who has no value has no bar."""
    known = [(name, value) for name in names if (value := results.of(figure.key, name))]
    most = max((value.most for _, value in known), default=0.0) or 1.0
    lines = [f'<text x="0" y="16" font-weight="600">{escape(figure.title)}</text>']
    for row, (name, value) in enumerate(known):
        lines += _bar(HEAD + row * LINE, name, value, BAR / most, figure.digits, own=name in ours)
    return "\n".join(lines), HEAD + len(known) * LINE


def svg(figures: Sequence[Figure], results: Results, ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Draw all figures, two panels a row, ours in colour; the thin line in a bar is the spread."""
    names, y, parts = (*ours, *theirs), GAP, list[str]()
    for start in range(0, len(figures), PANELS_A_ROW):
        drawn = [panel(figure, results, ours, names) for figure in figures[start : start + PANELS_A_ROW]]
        for column, (content, _) in enumerate(drawn):
            parts.append(f'<g transform="translate({20 + column * (WIDTH + 20)},{y})">\n{content}\n</g>')
        y += max(height for _, height in drawn) + GAP
    width = 20 + PANELS_A_ROW * (WIDTH + 20)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">\n'
        f'<rect width="{width}" height="{y}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
