"""On which line of a TOML file each key stands.

tomllib gives values without places, and a fault without its line is a search. This scanner knows just
enough of TOML 1.0 to find keys: headers of tables and arrays of tables, bare, quoted and dotted keys, and
where values go over several lines. Give it only text that tomllib has accepted; what it can't place stands
with its parent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]

_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*=")
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEY_PART}(?:\s*\.\s*{_KEY_PART})*)\s*\]")
_PART = re.compile(_KEY_PART)
# What may stand in a value, in the order in which it must be tried; the group name says what it does.
_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\')|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comment>#[^\n]*)'
)
_LONG_STRING = r"""\"\"\"(?:[^"\\]|\\.|"(?!""))*"{3,5}|'{3}(?:[^']|'(?!''))*'{3,5}"""
# Short strings and comments are found too, so that quotes inside them don't open a long one.
_TEXTS = re.compile(rf"(?P<long>{_LONG_STRING})|{_TOKEN.pattern}", re.DOTALL)


def find_lines(text: str) -> dict[Path, int]:
    """Map each key path of a valid TOML text, as ("listener", 0, "address"), to its line, counted from 1."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    depth = 0
    for number, line in enumerate(_without_long_strings(text).split("\n"), start=1):
        if depth == 0:
            if header := _HEADER.match(line):
                table = _enter(_parts(header[2]), counts, is_array=header[1] == "[[")
                lines.setdefault(table, number)
                lines.setdefault(table[:-1], number)
                continue
            if key := _KEY.match(line):
                for end in range(1, len(path := _parts(key[1])) + 1):
                    lines.setdefault(table + path[:end], number)
                line = line[key.end() :]  # noqa: PLW2901  the value is what is left of it
        depth += _depth_change(line)
    return lines


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """Give the line of `path`, or of the nearest thing around it that has one."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def _enter(header: Path, counts: dict[Path, int], *, is_array: bool) -> Path:
    """Resolve a header to a path with indices: `[a.b]` below `[[a]]` belongs to the latest entry of a."""
    path: Path = ()
    for position, part in enumerate(header):
        path += (part,)
        if position == len(header) - 1 and is_array:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path += (counts[path],)
    return path


def _parts(key: str) -> Path:
    return tuple(_unquote(part) for part in _PART.findall(key))


def _unquote(part: str) -> str:
    if part[0] == "'":
        return part[1:-1]
    if part[0] == '"':
        body = re.sub(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})", lambda m: chr(int(m[1][1:], 16)), part[1:-1])
        return re.sub(r"\\(.)", r"\1", body)
    return part


def _without_long_strings(text: str) -> str:
    """Blank out multi-line strings, keeping their line ends: nothing in them is a key."""
    return _TEXTS.sub(lambda found: '""' + "\n" * found[0].count("\n") if found["long"] else found[0], text)


def _depth_change(value: str) -> int:
    change = 0
    for token in _TOKEN.finditer(value):
        if token.lastgroup == "comment":
            break
        change += {"open": 1, "close": -1}.get(token.lastgroup or "", 0)
    return change
