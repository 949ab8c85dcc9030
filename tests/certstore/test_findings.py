"""Every finding has a code, words and a hint, in the table and on the page that people read."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from string import Formatter

import pytest

import certstore
import tlsproxy
from certstore.catalogue import CATALOGUE
from certstore.checkcodes import CHECKS
from certstore.findings import LONGEST_FACT, Finding, Severity, found, genuine

PACKAGES = (Path(certstore.__path__[0]), Path(tlsproxy.__path__[0]))
PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def facts_of(code: str) -> set[str]:
    entry = CATALOGUE[code]
    parsed = [*Formatter().parse(entry.words), *Formatter().parse(entry.hint)]
    return {name for _, name, _, _ in parsed if name}


def row_of(code: str) -> str:
    entry = CATALOGUE[code]
    return f"| `{code}` | {entry.severity} | {entry.words} | {entry.hint} |"


def page_rows() -> list[str]:
    return re.findall(r"^\| `.* \| (?:error|warning|note) \|.*", PAGE.read_text(), re.MULTILINE)


def calls_of_found() -> list[tuple[str, str, set[str] | None]]:
    """Give place, code and facts of each call with a literal code; no facts where they come as **mapping."""
    calls: list[tuple[str, str, set[str] | None]] = []
    for path in sorted(file for package in PACKAGES for file in package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            code = node.args[0] if node.args else None
            if name in {"found", "say"} and isinstance(code, ast.Constant):
                facts = {keyword.arg for keyword in node.keywords if keyword.arg}
                starred = any(keyword.arg is None for keyword in node.keywords)
                calls.append((f"{path.name}:{node.lineno}", str(code.value), None if starred else facts))
    return calls


@pytest.mark.parametrize("code", CATALOGUE)
def test_each_code_is_snake_case_and_its_words_are_one_lower_case_line(code):
    entry = CATALOGUE[code]
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code)
    for text in (entry.words, entry.hint):
        assert text
        assert "\n" not in text
        assert text[0] == text[0].lower()
        assert not text.endswith(".")


def test_no_code_stands_twice_in_the_parts_of_the_table():
    """A later part would take the place of an earlier one without a word."""
    makers = [
        str(key.value)
        for path in Path(certstore.__path__[0]).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and _is_entry(value)
    ]
    assert sorted(makers) == sorted(CATALOGUE)


def _is_entry(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Entry"


def test_the_page_shows_the_table_as_it_is():
    assert sorted(page_rows()) == sorted(row_of(code) for code in CATALOGUE)


def test_checks_refuse_only_what_no_client_takes_and_the_page_gives_the_reasons():
    refusing = {code for code, entry in CHECKS.items() if entry.severity is Severity.ERROR}
    reasons = PAGE.read_text().partition("### Which of them refuse")[2].partition("###")[0]
    assert refusing == set(re.findall(r"^\| `(\w+)` \| \w.* \|$", reasons, re.MULTILINE))
    assert refusing == {
        *("expired", "dates_reversed", "certificate_malformed", "ca_as_leaf", "not_for_servers"),
        *("key_too_small", "key_far_too_large", "key_type_unsupported"),
    }


def test_every_place_that_makes_a_finding_uses_a_code_of_the_table_with_its_facts():
    calls = calls_of_found()
    assert len(calls) > 50
    for place, code, facts in calls:
        assert code in CATALOGUE, place
        assert facts is None or facts >= facts_of(code), place


@pytest.mark.parametrize("code", CATALOGUE)
def test_each_entry_becomes_a_finding_with_its_facts(code):
    finding = found(code, **dict.fromkeys(facts_of(code), "FACT"))
    assert (finding.code, finding.severity) == (code, CATALOGUE[code].severity)
    assert finding.is_error == (finding.severity is Severity.ERROR)
    assert "{" not in finding.words + finding.hint


def test_an_unknown_code_or_a_missing_fact_is_our_mistake():
    with pytest.raises(KeyError):
        found("no_such_code")
    with pytest.raises(KeyError):
        found("file_empty")


def test_a_strangers_text_is_made_printable_and_cut():
    evil = "\x1b[2J{file.__class__}\r\nok\u202e" + "x" * 10_000
    finding = found("file_empty", file=evil)
    assert finding.words.isprintable()
    assert "{file.__class__}" in finding.words
    assert len(finding.words) < LONGEST_FACT + 20


def test_a_finding_that_we_could_have_made_is_genuine_whatever_its_facts():
    for code in CATALOGUE:
        finding = found(code, **dict.fromkeys(facts_of(code), "x" * 1000))
        assert genuine(finding) is finding


@pytest.mark.parametrize(
    "change",
    [
        {"code": "all_is_well"},
        {"severity": Severity.NOTE},
        {"words": "a.pem is empty\n\x1b[2J"},
        {"hint": "x" * 10_000},
    ],
)
def test_a_finding_that_we_can_not_have_made_is_not_genuine(change):
    with pytest.raises(ValueError, match="no "):
        genuine(replace(found("file_empty", file="a.pem"), **change))


def test_equal_facts_make_equal_findings():
    one, other = found("file_empty", file="a"), found("file_empty", file="a")
    assert one == other
    assert one != Finding("file_empty", Severity.ERROR, "", "")
