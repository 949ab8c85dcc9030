"""Tables of commands, on terminals wide and narrow, and in a pipe."""

from __future__ import annotations

import io

import pytest

from tlsproxy.cli.columns import show_columns
from tlsproxy.cli.tables import show_rows

HEADS = ("when (UTC)", "generation", "what", "state", "who", "codes", "receipt")
ROWS = [
    (
        *("2026-11-26 06:00:00", "12", "proposal", "confirmed", "customer via cli"),
        *("chain_incomplete, no_san_ip", "000012-5f3a9c41"),
    ),
    ("2026-11-26 06:00:00", "10", "expiry", "", "", "", ""),
]
BELOW = ("who", "codes")


def on_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    show_rows(HEADS, ROWS, out, BELOW)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_wide_terminal_gets_a_row_on_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    head, *rows = on_a_terminal(140, monkeypatch)
    assert head.split() == "when (UTC) generation what state who codes receipt".split()  # noqa: SIM905  as it is read
    assert len(rows) == len(ROWS)


def test_an_empty_table_says_none_to_who_looks_and_gives_a_pipe_only_its_heads(capsys):
    show_columns(("id", "names"), [])
    told = capsys.readouterr()
    assert (told.out, told.err) == ("id  names\n", "none\n")


def test_on_a_narrow_terminal_the_long_columns_stand_below_and_no_time_is_torn_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert on_a_terminal(80, monkeypatch) == [
        "when (UTC)           generation  what      state      receipt",
        "    who; codes",
        "2026-11-26 06:00:00  12          proposal  confirmed  000012-5f3a9c41",
        "    customer via cli; chain_incomplete, no_san_ip",
        "2026-11-26 06:00:00  10          expiry",
    ]


def test_in_a_pipe_each_row_is_a_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    show_columns(HEADS, [*ROWS, ("x" * 500, *[""] * 6)], BELOW)
    assert len(capsys.readouterr().out.splitlines()) == 4
