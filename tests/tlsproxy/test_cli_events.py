"""`tlsproxy events` for a person: one line an event."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsproxy.cli import main
from tlsproxy.cli.events import line_of
from tlsproxy.errors import ExitCode

HEAD = {"stream": "s", "number": 17, "at": "2026-11-25T22:40:01.123456+00:00"}
RECEIPT = {
    **HEAD,
    "kind": "receipt",
    "id": "000003-0123abcd",
    "state": "refused",
    "source": "customer",
    "via": "api",
    "findings": [{"code": "expired", "severity": "error"}, {"code": "key_kept", "severity": "warning"}],
    "times": {"received": "2026-11-25T22:40:01+00:00"},
}


ACME = {
    **HEAD,
    "kind": "acme",
    "names": ["a.test"],
    "challenge": "http-01",
    "authority": "https://ca.test:14000/dir",
}


WAITING = (
    "acme        waiting for ca.test:14000 to see the proof of a.test by http-01,"
    " until 12:15:00 UTC at the longest"
)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (RECEIPT, "receipt     000003-0123abcd  refused  customer via api  (expired)"),
        (
            {**HEAD, "kind": "finding", "severity": "warning", "words": "it is so", "code": "path_missing"},
            "finding     warning: it is so [path_missing]",
        ),
        (
            {**HEAD, "kind": "expiry", "step": "urgent", "role": "served", "words": "it ends", "code": "c"},
            "expiry      urgent (served): it ends [c]",
        ),
        ({**HEAD, "kind": "rung", "rung": "expired", "words": "it has"}, "rung        expired: it has"),
        (
            {**HEAD, "kind": "generation", "generation": 4, "cause": "proposal"},
            "generation  4 (proposal)",
        ),
        (
            {**HEAD, "kind": "generation", "generation": None, "cause": "memory"},
            "generation  in memory (memory)",
        ),
        (
            {**HEAD, "kind": "worker", "pid": 7, "seat": 1, "state": "ended", "exit_code": -9},
            "worker      7 (seat 1) ended with exit code -9",
        ),
        ({**HEAD, "kind": "reload", "state": "done", "epoch": 2}, "reload      done: epoch 2"),
        (
            {**ACME, "state": "step", "step": "validation", "until": "2026-11-25T12:15:00+00:00"},
            WAITING,
        ),
        (
            {**ACME, "state": "step", "step": "order", "until": None, "names": list("abcde")},
            "acme        placing the order at ca.test:14000 for a, b, c and 2 more",
        ),
        ({**ACME, "state": "step", "step": "tomorrow"}, "acme        tomorrow"),
        ({**ACME, "state": "step", "step": "order", "why": "no way"}, "acme        no way; trying again"),
        (
            {**ACME, "state": "failed", "words": "the authority ...", "code": "acme_refused"},
            "acme        failed: the authority ... [acme_refused]",
        ),
        (
            {**ACME, "state": "issued", "not_after": "2027-01-01T00:00:00+00:00"},
            "acme        issued by https://ca.test:14000/dir, valid until 2027-01-01",
        ),
        ({**HEAD, "kind": "acme", "state": "disabled"}, "acme        disabled"),
        ({**HEAD, "kind": "reload", "state": "refused", "why": "no"}, "reload      refused: no"),
        ({**HEAD, "kind": "tomorrow", "what": 1}, 'tomorrow    {"what": 1}'),
    ],
)
def test_an_event_is_one_line(message: dict[str, object], words: str) -> None:
    assert line_of(message) == f"2026-11-25 22:40:01     17  {words}"


def test_a_loss_is_told() -> None:
    assert line_of({"kind": "lost", "count": 3}) == "-- 3 events can't be had any more --"
    assert line_of({"kind": "lost", "count": None}) == "-- some events can't be had any more --"


def test_without_a_proxy_it_ends_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--store", str(tmp_path)]) == ExitCode.FAILED
    assert "no proxy answers" in capsys.readouterr().err
