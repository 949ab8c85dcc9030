"""One TOML table after another, leaf by leaf, so that every fault is found and not only the first.

msgspec checks single values well, but stops a whole document at its first fault and names no line. So each
leaf is converted by itself here; what is wrong is noted with its key and line, and reading goes on with the
default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from tlsproxy.config.lines import Path, line_of
from tlsproxy.errors import Mistake

T = TypeVar("T")

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a date",
    "date": "a date",
    "time": "a time",
}
_GOT = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<got>\w+)`")
_RANGE = re.compile(r"Expected `\w+` (?P<sign>[<>]=?) (?P<bound>\S+)")
_SIGNS = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}


@dataclass(slots=True)
class Notes:
    """The mistakes so far, and where lines are looked up; `name` puts a key path into a person's words."""

    lines: Mapping[Path, int] = field(default_factory=dict)
    name: Callable[[Path], str] = lambda path: dotted(path)  # noqa: PLW0108  it is defined below
    mistakes: list[Mistake] = field(default_factory=list)

    def note(self, path: Path, why: str, hint: str = "") -> None:
        """Record that what stands at `path` is wrong."""
        self.mistakes.append(Mistake(self.name(path), line_of(self.lines, path), why, hint))

    def concerns(self, path: Path) -> bool:
        """Say whether something at or below `path` is already known to be wrong."""
        prefix = self.name(path)
        return any(m.key == prefix or m.key.startswith((prefix + ".", prefix + "[")) for m in self.mistakes)


class Table:
    """One table of the document; `finish` must be called last and reports the keys that nobody asked for."""

    def __init__(self, raw: Mapping[str, object], path: Path, notes: Notes) -> None:
        self._raw = raw
        self._notes = notes
        self._known: set[str] = set()
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def leaf(self, key: str, kind: Any, default: Any) -> Any:
        """Take one value of a type that msgspec knows; the default where it is absent or wrong."""
        self._known.add(key)
        if key not in self._raw:
            return default
        try:
            return msgspec.convert(self._raw[key], kind, strict=True)
        except msgspec.ValidationError as error:
            self._notes.note((*self.path, key), _in_words(str(error), self._raw[key], kind))
            return default

    def parsed(self, key: str, parse: Callable[[str], T], default: T) -> T:
        """Take a text and parse it; a `ValueError` of `parse` is noted in its own words."""
        text: str | None = self.leaf(key, str, None)
        return default if text is None else self._parse((*self.path, key), text, parse, default)

    def parsed_list(self, key: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        """Take a list of texts and parse each; a bad one is noted and left out."""
        texts: list[str] | None = self.leaf(key, list[str], None)
        if texts is None:
            return ()
        missing = object()
        found = [self._parse((*self.path, key), text, parse, missing) for text in texts]
        return tuple(value for value in found if value is not missing)  # type: ignore[misc]  # only T is left

    def table(self, key: str) -> Table:
        """Take a sub-table; an empty one where it is absent or no table."""
        raw: dict[str, object] = self.leaf(key, dict[str, Any], {})
        return Table(raw, (*self.path, key), self._notes)

    def tables(self, key: str) -> Iterator[Table]:
        """Take an array of tables, written `[[key]]`."""
        self._known.add(key)
        found = self._raw.get(key, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            self._notes.note((*self.path, key), "expected tables", f"write [[{key}]], in two brackets")
            return
        for index, entry in enumerate(found):
            yield Table(entry, (*self.path, key, index), self._notes)

    def refuse(self, key: str, why: str, hint: str = "") -> None:
        """Note that what stands at `key` is wrong, for a reason that lies outside of it."""
        self._known.add(key)
        self._notes.note((*self.path, key), why, hint)

    def require(self, *keys: str) -> bool:
        """Note each of `keys` that is absent; say whether all are there."""
        missing = [key for key in keys if key not in self._raw]
        for key in missing:
            self._notes.note((*self.path, key), "is missing")
        return not missing

    def finish(self) -> None:
        """Note every key that nobody asked for, with the one that was probably meant."""
        for key in self._raw:
            if key not in self._known:
                self._notes.note((*self.path, key), "unknown key", did_you_mean(key, sorted(self._known)))

    def _parse(self, path: Path, text: str, parse: Callable[[str], T], default: T) -> T:
        try:
            return parse(text)
        except ValueError as error:
            self._notes.note(path, str(error))
            return default


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Suggest what was probably meant, else say what there is."""
    import difflib  # a good file needs none, and the supervisor would hold it for years

    close = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def dotted(path: Path) -> str:
    """Write a key path as `listener[0].address`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _choices(kind: Any) -> Iterator[str]:
    """Give what may stand there, in words: the members of an enum, the values of a literal, "a number"."""
    if get_origin(kind) is Annotated:
        yield "a number"
    elif (parts := get_args(kind)) and not isinstance(kind, type):
        for part in parts:
            yield from [part] if isinstance(part, str) else _choices(part)
    else:
        yield from (str(member) for member in kind)


def _in_words(message: str, value: object, kind: Any) -> str:
    if message.startswith("Invalid enum value"):
        return f"{value!r} is none of {', '.join(_choices(kind))}"
    if found := _GOT.search(message):
        wanted = " or ".join(_KINDS.get(one.strip(), one.strip()) for one in found["wanted"].split("|"))
        place = " in the list" if "$[" in message else ""
        return f"expected {wanted}{place}, not {_KINDS.get(found['got'], found['got'])}"
    if found := _RANGE.search(message):
        return f"{value!r} must be {_SIGNS[found['sign']]} {found['bound'].removesuffix('.0')}"
    return message[:1].lower() + message[1:]
