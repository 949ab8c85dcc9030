"""Every file of the corpus is read, or refused by the codes that its table names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from certstore import Refusal
from certstore.assembly import assemble
from certstore.checks import check
from certstore.circumstances import Circumstances
from certstore.findings import CATALOGUE, Finding, Severity
from tests.intake import FOLDER, Case, corpus

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def is_refused(case: Case) -> bool:
    return any(CATALOGUE[code].severity is Severity.ERROR for code in case.codes)


def codes(findings: Iterable[Finding]) -> list[str]:
    return sorted(finding.code for finding in findings)


@pytest.mark.parametrize("case", corpus(), ids=lambda case: case.name)
def test_each_file_is_taken_or_refused_as_the_table_says(case: Case):
    if is_refused(case):
        with pytest.raises(Refusal) as refusal:
            assemble(case.candidate, lambda _spki: None)
        assert codes(refusal.value.findings) == list(case.codes)
        return
    bundle, findings = assemble(case.candidate, lambda _spki: None)
    assert codes(findings) == list(case.codes)
    assert not any(finding.is_error for finding in check(bundle, Circumstances(NOW, clock_plausible=True)))
    assert bundle.names == (("third.test",) if case.name == "chain-one-pair-of-many" else ("device.test",))


def test_the_corpus_is_whole_and_wide():
    cases = corpus()
    assert len(cases) >= 200
    assert sum(not is_refused(case) for case in cases) >= 100
    rows = json.loads((FOLDER / "table.json").read_text("utf-8"))
    assert {"openssl", "certtool", "keytool", "pk12util", "python"} <= {row["by"] for row in rows}
    lying = {path.relative_to(FOLDER / "files").as_posix() for path in (FOLDER / "files").rglob("*.*")}
    named = {f"{path.parent.name}/{path.name}" for case in cases for path in case.paths}
    assert {path for path in named if "." in path.partition("/")[2]} == lying
