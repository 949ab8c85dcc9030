from __future__ import annotations

from pathlib import Path

import pytest

from certstore import errors
from certstore.errors import Refusal, StoreError
from certstore.findings import found

ROOT = Path("/var/lib/device")
ALL = [
    StoreError("the store failed"),
    errors.StoreInsecure(ROOT, 0o40755),
    errors.StoreInsecure(ROOT, 0o40700, owner=0),
    errors.StoreLocked(ROOT, "process 7"),
    errors.StoreNotWritable(ROOT / "active", "No space left on device"),
    errors.StoreCorrupt(ROOT / "active", "it holds no number"),
    errors.StoreExhausted(ROOT / "bundles", "too many open files"),
    errors.StoreGone(ROOT),
    errors.AnswersUngiven("no worker accepts connections"),
    errors.StoreNewer(ROOT, 2, 1),
    errors.BackupUnreadable("the passphrase is another one, or the file is incomplete"),
    errors.NotFound("receipt", "000001-00000000"),
    errors.RandomNotReady(),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_every_error_is_one_line_with_a_code_and_a_hint(error):
    for words in (str(error), error.hint):
        assert words
        assert "\n" not in words
        assert not words.endswith(".")
    assert str(error)[0] == "/" or str(error)[0].islower()
    assert error.code.isidentifier()


@pytest.mark.parametrize(
    ("what", "leads_to"),
    [
        ("trust set", "tlsproxy trust list"),
        ("request", "tlsproxy certs csr list"),
        ("ACME enrolment", "tlsproxy acme enable"),
        ("generation", "tlsproxy certs history"),
    ],
)
def test_what_is_not_there_is_looked_for_where_such_things_are_listed(what, leads_to):
    assert leads_to in errors.NotFound(what, "x").hint


def test_every_kind_of_error_is_in_the_list_above_and_has_its_own_code():
    kinds: set[type[StoreError]] = {StoreError, *StoreError.__subclasses__(), errors.StoreGone}
    assert {type(error) for error in ALL} == kinds
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_a_refusal_says_its_errors_and_keeps_all_findings():
    refusal = Refusal(found("self_signed"), found("already_live"), found("candidate_empty"))
    assert str(refusal) == found("candidate_empty").words
    assert len(refusal.findings) == 3


def test_a_refusal_without_an_error_is_our_mistake():
    with pytest.raises(AssertionError):
        Refusal(found("already_live"))
