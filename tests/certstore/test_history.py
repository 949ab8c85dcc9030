"""Where a step back leads, told by letters: A, B, ... are states of one slot, `-` is its absence."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from certstore.history import line_of
from certstore.slots import Slot, Source

AT = datetime(2026, 11, 1, tzinfo=UTC)


def slot(letter: str) -> Slot | None:
    if letter == "-":
        return None
    since = ord(letter)
    return Slot(
        Source.CUSTOMER, ("a.test",), letter * 64, None, "test", False, f"{since:06d}-00000000", AT, since
    )


def told(line: list[Slot | None]) -> str:
    return "".join(one.bundle[0] if one else "-" for one in line)


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ("", ""),
        ("-", ""),
        ("A", "A"),
        ("AAAA", "A"),
        ("ABC", "ABC"),
        ("--AB", "AB"),
        ("ABCB", "AB"),  # after a step back, the next one leads further
        ("ABCBA", "A"),
        ("ABCBD", "ABD"),  # what was gone back from is not come back to
        ("ABCBDB", "AB"),
        ("AB-", "AB-"),  # a removal can be undone
        ("A-B", "A-B"),
        ("A--", "A-"),
        ("A-A", "A"),
        ("A-B-", "A-B-"),
        ("ABDC", "ABDC"),  # an older state that was activated counts as a new one where it was left out
    ],
)
def test_the_line_leads_to_the_present_without_what_was_gone_back_from(records, line):
    assert told(line_of(slot(letter) for letter in records)) == line
