"""The audit log: who changed what, kept whatever happens around it."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certstore import Receipt, Source, State, found
from tlsproxy import policy
from tlsproxy.observe.audit import ITSELF, SIGNAL, Actor, AuditLog

AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def audit(folder: Path, most_bytes: int = policy.AUDIT_BYTES) -> AuditLog:
    return AuditLog(folder, lambda: AT, most_bytes)


def lines(folder: Path, name: str = "audit.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text("ascii").splitlines()]


def receipt_of(via: str, state: State = State.REFUSED) -> Receipt:
    findings = (found("candidate_empty"),)
    return Receipt("000001-0123abcd", state, Source.CUSTOMER, via, None, None, findings, {State.RECEIVED: AT})


def test_a_line_says_who_what_and_what_came_of_it(tmp_path: Path) -> None:
    actor = Actor("socket", uid=1000, pid=4711)
    audit(tmp_path).note_receipt(actor, receipt_of("api"))
    assert lines(tmp_path) == [
        {
            "at": "2026-11-25T12:00:00+00:00",
            "by": "socket",
            "uid": 1000,
            "pid": 4711,
            "what": "propose",
            "outcome": "refused",
            "receipt": "000001-0123abcd",
            "source": "customer",
            "via": "api",
            "codes": ["candidate_empty"],
        }
    ]


@pytest.mark.parametrize(
    ("via", "by"), [("inbox", "inbox"), ("watch:/etc/x", "watch"), ("identity", "identity")]
)
def test_what_came_by_no_socket_was_done_by_a_part_of_the_house(via: str, by: str) -> None:
    assert Actor.of(receipt_of(via)).facts() == {"by": by}


def test_lines_are_only_ever_appended(tmp_path: Path) -> None:
    audit(tmp_path).note(SIGNAL, "reload", "begun", epoch=2)
    audit(tmp_path).note(ITSELF, "move_rows", "live", generation=3)
    assert [line["what"] for line in lines(tmp_path)] == ["reload", "move_rows"]


def test_the_file_is_ours_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        audit(tmp_path).note(ITSELF, "x", "done")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_a_full_file_is_put_aside_and_a_few_are_kept(tmp_path: Path) -> None:
    log = audit(tmp_path, most_bytes=1000)
    for number in range(60):
        log.note(ITSELF, "x", "done", number=number, words="y" * 100)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"audit.{n}.jsonl" for n in range(1, policy.AUDIT_KEPT + 1)), "audit.jsonl"]
    kept = [
        line["number"]
        for name in [*(f"audit.{n}.jsonl" for n in range(policy.AUDIT_KEPT, 0, -1)), "audit.jsonl"]
        for line in lines(tmp_path, name)
    ]
    assert kept == list(range(kept[0], 60)), "in order, and none between is missing"
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())


def test_after_a_power_cut_the_next_line_is_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_bytes(b'{"at": "2026-11-25", "wha')
    audit(tmp_path).note(ITSELF, "x", "done")
    torn, whole = (tmp_path / "audit.jsonl").read_text("ascii").splitlines()
    assert torn == '{"at": "2026-11-25", "wha'
    assert json.loads(whole)["what"] == "x"


def test_nobody_is_led_elsewhere_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    audit(tmp_path).note(ITSELF, "x", "done")
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_line_that_cannot_be_written_stops_nothing_and_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = audit(tmp_path / "gone")
    for _ in range(3):
        log.note(ITSELF, "x", "done")
    assert capsys.readouterr().out.count("audit_not_written") == 1
    (tmp_path / "gone").mkdir()
    log.note(ITSELF, "x", "done")
    assert len(lines(tmp_path / "gone")) == 1


def test_a_strangers_words_stay_within_their_line(tmp_path: Path) -> None:
    audit(tmp_path).note(Actor("socket"), "propose", "failed", via="a\nb\u202e\x1b[2J")
    text = (tmp_path / "audit.jsonl").read_bytes()
    assert text.count(b"\n") == 1
    assert text.isascii()
    assert b"\x1b" not in text
