"""RESULTS.md from the results: tables of medians, of ratios, of targets. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Figure, Results, Spread
from benchmarks.scenarios.scenario import Scenario
from benchmarks.targets import Verdict, judge

PREFACE = """\
Made by `make bench`, which writes it anew. Less is better, unless a title says otherwise. Processor time and
memory are those of all processes of a server, as the kernel counts them, for the same work. A figure is the
median over the rounds, in brackets the least and the most. A ratio is ours / theirs within one round: below 1
we are cheaper."""


@dataclass(slots=True)
class Run:
    """A run of the suite: who was measured at what, and under which circumstances."""

    scenarios: Sequence[Scenario]
    ours: Sequence[str]
    theirs: Sequence[str]
    results: Results
    circumstances: list[str]
    versions: dict[str, str]
    failures: list[str] = field(default_factory=list)
    is_whole: bool = True


def told(value: Spread | None, digits: int) -> str:
    """Write a median with its spread, where it has one."""
    if value is None:
        return "-"
    median, least, most = (f"{each:,.{digits}f}" for each in (value.median, value.least, value.most))
    return median if least == most else f"{median} ({least} to {most})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; the first column is left-aligned, the others, of numbers, right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figures(run: Run, figures: Sequence[Figure]) -> str:
    head = ["", *(f.title + " (more is better)" * f.more_is_better for f in figures)]
    rows = [
        [name, *(told(run.results.of(figure.key, name), figure.digits) for figure in figures)]
        for name in (*run.ours, *run.theirs)
    ]
    return table(head, rows)


def _ratios(run: Run, figures: Sequence[Figure]) -> str:
    head = ["ratio to", *(f"{own}: {figure.key}" for figure in figures for own in run.ours)]
    rows = [
        [name, *(told(run.results.ratio(f.key, own, name), 2) for f in figures for own in run.ours)]
        for name in run.theirs
    ]
    return table(head, rows)


def _targets(run: Run) -> str:
    figures = {figure.key: figure for scenario in run.scenarios for figure in scenario.figures}
    rows = []
    for lines in zip(*(judge(run.results, own) for own in run.ours), strict=True):
        target = lines[0].target
        if target.figure not in figures:  # of a scenario that wasn't asked for
            continue
        digits = 2 if target.peer else figures[target.figure].digits
        rows.append([figures[target.figure].title, target.words, *(_verdict(line, digits) for line in lines)])
    return table(["figure", "asked", *run.ours], rows)


def _verdict(verdict: Verdict, digits: int) -> str:
    if verdict.measured is None:
        return verdict.word
    word = verdict.word if verdict.word == "reached" else f"**{verdict.word}**"
    return f"{word}: {verdict.measured:,.{digits}f}"


def markdown(run: Run, notes: str) -> str:
    """Write the whole page; `notes` are a person's words about it, kept apart from what is generated."""
    parts = [
        "# Beside the peers",
        PREFACE,
        "\n".join(f"- {line}" for line in run.circumstances),
        "![Processor time and memory beside the peers](results.svg)",
        "## Held to the targets",
        _targets(run),
    ]
    for scenario in run.scenarios:
        parts += [f"## {scenario.title}", f"Load: {scenario.load}.", _figures(run, scenario.figures)]
        if compared := [figure for figure in scenario.figures if figure.compared]:
            parts.append(_ratios(run, compared))
        parts += [f"Not {name}: {why}." for name, why in scenario.without.items()]
    parts += [
        "## Who was measured",
        table(["", "version, and what was negotiated"], [list(pair) for pair in run.versions.items()]),
        "hitch and stunnel read no HTTP: they move bytes, one connection to the upstream for each client.",
    ]
    if run.failures:
        parts += ["## What failed", "\n".join(f"- {line}" for line in run.failures)]
    return "\n\n".join([*parts, notes.strip()]).strip() + "\n"
