"""The scanner that finds the line of a key."""

from __future__ import annotations

import tomllib

import pytest

from tlsproxy.config.lines import find_lines, line_of

DOCUMENT = '''\
store = "x"   # = not = a = key
"quoted key" = 1
'single.quoted' = 2
a.b . "c d" = 3
text = """
fake = 1
[also.fake]
\\"""
"""
literal = \'\'\'
fake = 2
\'\'\'
quotes = "\'\'\'"
many = [
  "fake = 3", # fake = 4
  { inner = 1, other = [ 2,
    3 ] },
]
after = true

[plain]
key = 1
  [plain . "sub table"]
  key = 2
[[list]]
one = 1
[[list]]
two = 2
  [list.child]
  three = 3
  [[list.deep]]
  four = 4
  [[list.deep]]
  five = 5
[[list]]
'''


def test_every_key_of_a_hard_document_is_found_on_its_line() -> None:
    tomllib.loads(DOCUMENT)  # the scanner promises something for valid TOML only
    lines = find_lines(DOCUMENT)
    assert lines["store",] == 1
    assert lines["quoted key",] == 2
    assert lines["single.quoted",] == 3
    assert lines["a", "b", "c d"] == 4
    assert lines["literal",] == 10
    assert lines["quotes",] == 13
    assert lines["many",] == 14
    assert lines["after",] == 19
    assert lines["plain", "sub table", "key"] == 24
    assert lines["list", 0, "one"] == 26
    assert lines["list", 1, "two"] == 28
    assert lines["list", 1, "child", "three"] == 30
    assert lines["list", 1, "deep", 0, "four"] == 32
    assert lines["list", 1, "deep", 1, "five"] == 34
    assert lines["list", 2] == 35


def test_nothing_inside_values_is_taken_for_a_key() -> None:
    assert not [path for path in find_lines(DOCUMENT) if "fake" in path or "inner" in path]


def test_what_has_no_line_of_its_own_stands_with_what_is_around_it() -> None:
    lines = find_lines(DOCUMENT)
    assert line_of(lines, ("many", 1, "inner")) == 14
    assert line_of(lines, ("list", 2, "absent")) == 35
    assert line_of(lines, ("nowhere",)) is None


@pytest.mark.parametrize("text", ["", "# only a comment", "\n\n", "a=1", "[a]\r\nb=1\r\n"])
def test_small_documents_are_no_trouble(text: str) -> None:
    assert isinstance(find_lines(text.replace("\r\n", "\n")), dict)
