"""The laws of the house that an import linter can't see; each failure says what to do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import certstore

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for package in ("certstore", "tlsproxy") for p in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BANNED = {"utils", "helpers", "common", "base", "misc", "core", "manager"}

# The borders that isolate one connection, one request, one change or one part of a support bundle; anywhere
# else a broad except hides a fault.
BROAD_EXCEPTS = {
    "certstore/activation.py",
    "certstore/examination.py",
    "tlsproxy/net/accept.py",
    "tlsproxy/notify/process.py",
    "tlsproxy/tls/gate.py",
    "tlsproxy/tls/contexts.py",
    "tlsproxy/caretaker.py",
    "tlsproxy/revocationkeeping.py",
    "tlsproxy/control/connections.py",
    "tlsproxy/workers/examination.py",
    "tlsproxy/workers/duties.py",
    "tlsproxy/cli/endings.py",
    "tlsproxy/control/connection.py",
    "tlsproxy/support/collecting.py",
}
# Where time enters; everybody else is handed it.
CLOCKS = {"tlsproxy/app.py", "tlsproxy/cli", "tlsproxy/demo", "tlsproxy/workers/process.py"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def calls(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=name_of)
def test_a_file_stays_small_enough_to_hold_one_idea(path):
    limit = 500 if path in TESTS else 400
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= limit, f"{lines} lines: find the second idea in it and give it a file of its own"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_function_stays_under_forty_lines_of_code(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body:
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                assert lines <= 40, f"{node.name} has {lines} lines: name a step of it and take it out"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_has_a_caption_and_a_name_that_says_something(path):
    docstring = ast.get_docstring(tree_of(path))
    assert docstring, "the first line of a module says what it is"
    assert path.stem not in BANNED, f"{path.stem} says nothing about what is inside"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_broad_except_stands_only_at_a_border(path):
    if name_of(path) in BROAD_EXCEPTS:
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            reraised = any(isinstance(n, ast.Raise) for n in node.body)
            broad = node.type is None or caught in {"Exception", "BaseException"}
            assert not broad or reraised, f"line {node.lineno}: name what can be raised here"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_time_is_passed_in(path):
    if any(name_of(path).startswith(owner) for owner in CLOCKS):
        return
    for called, line in calls(path):
        assert called not in {"time.time", "datetime.now", "datetime.datetime.now", "datetime.utcnow"}, (
            f"line {line}: take the time as an argument, so that a test can own the clock"
        )


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[-2] == "certstore"], ids=name_of)
def test_only_one_module_renames_and_syncs(path):
    if path.stem == "atomic":
        return
    for called, line in calls(path):
        assert called not in {"os.rename", "os.replace", "os.fsync", "os.fdatasync"}, (
            f"line {line}: certstore/atomic.py does that, and the crash tests stop before each of its steps"
        )


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_left_half_done(path):
    text = path.read_text("utf-8")
    for word in ("TODO", "FIXME", "XXX", "NotImplementedError"):
        assert word not in text, f"{word}: finish it or take it out"


def test_the_door_of_certstore_opens_each_room_that_it_tells_the_type_checker_of():
    door = tree_of(ROOT / "certstore" / "__init__.py")
    told: dict[str, str | None] = {}
    for branch in door.body:
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING":
            for line in branch.body:
                assert isinstance(line, ast.ImportFrom)
                told |= {name.name: line.module for name in line.names}
    assert told == certstore._LATER
    for name in certstore.__all__:
        assert getattr(certstore, name) is not None
    with pytest.raises(ImportError):
        from certstore import nothing_of_this_name  # type: ignore[attr-defined]  # noqa: F401
