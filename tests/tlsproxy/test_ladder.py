"""The expiry ladder of a real store: each step is told once, then in its rhythm, whatever happens between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from certstore import Bundle, Candidate, Finding, InProcess, Source, Store, StoreNotWritable
from certstore.atomic import Disk
from tests.pki import Issued, Pki
from tests.storing import Clock, OpenGate, candidate_of, half_done
from tlsproxy import policy_notices as policy
from tlsproxy.ladder import Ladder, Telling
from tlsproxy.observe.events import EventLog
from tlsproxy.telling import Teller


class Scene:
    """A store, a ladder that looks at it, and what it has told."""

    def __init__(self, path: Path, clock: Clock, disk: Disk | None = None) -> None:
        self.clock = clock
        self.told: list[Telling] = []
        self.store = Store.open(path, clock=clock)
        self.disk = disk
        self.restart()

    def restart(self) -> None:
        self.ladder = Ladder(self.store, self.clock, self.told.append, self.disk)

    def bring(self, what: Candidate | Bundle, source: Source = Source.CUSTOMER) -> str:
        receipt = self.store.propose(what, source=source, via="test", examiner=InProcess(OpenGate()))
        assert receipt.bundle is not None, receipt.codes
        return receipt.bundle

    def look(self, **by: float) -> list[str]:
        """Let time go by, look, and give the codes that were told."""
        self.clock.go(**by)
        self.told.clear()
        self.ladder.turn()
        return [one.finding.code for one in self.told]


@contextmanager
def scene_at(path: Path, now: datetime, disk: Disk | None = None) -> Iterator[Scene]:
    scene = Scene(path / "store", Clock(now), disk)
    try:
        yield scene
    finally:
        scene.store.close()


def leaf(pki: Pki, now: datetime, days: float = 100, name: str = "device.test") -> Issued:
    return pki.leaf((name,), days=days, start=now)


def test_each_step_is_told_once_and_again_in_its_rhythm(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now)))
        assert scene.look(days=69) == []
        assert scene.look(days=2) == ["expiry_notice"]  # 29 of 100 days are left
        assert scene.look(minutes=1) == []
        assert scene.look(days=5) == []
        assert scene.look(days=1) == ["expiry_notice"]  # a quarter of the 23 that are left has gone by
        assert scene.look(days=4) == ["expiry_warning"]
        assert scene.look(days=9.5) == ["expiry_urgent"]
        assert scene.look(days=10) == ["expiry_passed"]
        assert scene.look(hours=23) == []
        assert scene.look(hours=2) == ["expiry_passed"]


def test_a_certificate_of_six_days_climbs_the_same_ladder(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now, days=6)))
        codes = [code for _ in range(24 * 7) for code in scene.look(hours=1)]
        firsts = list(dict.fromkeys(codes))
        assert firsts == ["expiry_notice", "expiry_warning", "expiry_urgent", "expiry_passed"]
        assert len(codes) < 15


def test_what_was_told_is_not_told_again_after_a_restart(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now)))
        assert scene.look(days=91) == ["expiry_urgent"]
        scene.restart()
        assert scene.look(minutes=1) == []
        scene.restart()
        assert scene.look(days=9) == ["expiry_passed"]
        assert half_done(tmp_path) == []


def test_the_file_is_written_only_when_something_is_told_or_forgotten(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now)))
        file = scene.store.path / "expiry.json"
        scene.look(days=1)
        assert not file.exists()
        scene.look(days=91)
        inode = file.stat().st_ino  # each write makes another file
        for _ in range(5):
            scene.look(minutes=1)
        assert file.stat().st_ino == inode
        assert file.stat().st_mode & 0o777 == 0o600
        scene.bring(candidate_of(leaf(pki, scene.clock.now)))
        scene.look(minutes=1)
        assert b"urgent" not in file.read_bytes()


def test_a_renewed_certificate_begins_at_the_foot_of_the_ladder(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now)))
        scene.look(days=85)
        assert [one.code for one in scene.ladder.standing] == ["expiry_warning"]
        scene.bring(candidate_of(leaf(pki, scene.clock.now)))
        assert scene.look(minutes=1) == []
        assert not scene.ladder.standing


def test_a_fallback_is_told_of_as_such_and_again_when_it_is_served(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now, days=50)), Source.ACME)
        customer = candidate_of(leaf(pki, now, days=400))
        scene.bring(customer)
        assert scene.look(days=36) == ["fallback_ends"]
        assert not scene.ladder.standing
        key = next(slot.key for slot in scene.store.slots() if slot.source is Source.CUSTOMER)
        scene.store.remove(key, via="test")
        assert scene.look(minutes=1) == ["expiry_notice"]
        scene.bring(customer)
        assert scene.look(minutes=1) == ["fallback_ends"]
        assert scene.look(days=20) == ["fallback_expired"]


def test_a_certificate_that_others_replace_as_it_ends_is_no_longer_served(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now, days=400)), Source.ACME)
        scene.bring(candidate_of(leaf(pki, now, days=50)))
        scene.clock.go(days=51)
        scene.store.refresh()
        assert scene.look() == ["fallback_expired"]


def test_nothing_is_told_or_forgotten_while_the_clock_cannot_be_right(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now)))
        assert scene.look(days=95) == ["expiry_urgent"]
        assert scene.look(days=-95 - 3650) == []
        assert not scene.ladder.standing
        assert scene.look(days=95 + 3650) == []
        assert [one.code for one in scene.ladder.standing] == ["expiry_urgent"]


def test_what_was_told_is_not_written_beside_a_newer_versions_store_and_told_all_the_same(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now)))
    (tmp_path / "store" / "FORMAT").write_text("2\n")
    with scene_at(tmp_path, now) as scene:
        assert scene.look(days=95) == ["expiry_urgent"]
        assert scene.look(minutes=1) == []
        assert not (tmp_path / "store" / "expiry.json").exists()


def test_a_disk_that_takes_no_writes_costs_no_telling(tmp_path, now, pki):
    def full(_step: str, path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with scene_at(tmp_path, now, Disk(full)) as scene:
        scene.bring(candidate_of(leaf(pki, now)))
        scene.clock.go(days=95)
        with pytest.raises(StoreNotWritable):
            scene.ladder.turn()
        assert [one.step for one in scene.told] == ["urgent"]
        assert scene.look(minutes=1) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"version":2,"told":{}}', b'{"version":1,"told":{"x":{"step":"?"}}}', b"\xff" * 9],
)
def test_a_damaged_memory_is_as_if_nothing_had_been_told(tmp_path, now, pki, content):
    with scene_at(tmp_path, now) as scene:
        scene.bring(candidate_of(leaf(pki, now)))
        (scene.store.path / "expiry.json").write_bytes(content)
        assert scene.look(days=95) == ["expiry_urgent"]
        scene.restart()
        assert scene.look(minutes=1) == []


def test_many_that_end_on_one_day_are_told_a_turn_after_the_other_the_nearest_first(
    tmp_path, now, pki, monkeypatch
):
    monkeypatch.setattr(policy, "TOLD_AT_ONCE", 2)
    with scene_at(tmp_path, now) as scene:
        for number in range(5):
            scene.bring(candidate_of(leaf(pki, now, days=100 - number, name=f"n{number}.test")))
        scene.clock.go(days=94)
        told: list[list[str]] = []
        for _ in range(4):
            scene.look(seconds=1)
            told.append([one.names[0] for one in scene.told])
        assert told == [["n4.test", "n3.test"], ["n2.test", "n1.test"], ["n0.test"], []]


def test_the_event_says_all_that_a_program_wants_to_know(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        bundle = scene.bring(candidate_of(leaf(pki, now)))
        events = EventLog(scene.clock)
        scene.look(days=95)
        Teller(events).expiry(scene.told[0])
        (event,) = events.after(0).events
        assert event.kind == "expiry"
        assert event.facts == {
            "step": "urgent",
            "role": "served",
            "names": ["device.test"],
            "source": "customer",
            "bundle": bundle,
            "fingerprint": scene.store.meta(bundle).fingerprint,
            "not_after": (now + timedelta(days=100)).isoformat(),
            "left_s": 5 * 86_400,
            **_shown(scene.told[0].finding),
        }


def _shown(finding: Finding) -> dict[str, object]:
    return {
        "code": "expiry_urgent",
        "severity": "error",
        "words": finding.words,
        "hint": finding.hint,
    }


def test_of_a_pair_each_is_told_by_its_own_dates(tmp_path, now, pki):
    with scene_at(tmp_path, now) as scene:
        ec = leaf(pki, now)
        rsa = pki.leaf(("device.test",), key="rsa", days=50, start=now)
        files = tuple((f"{name}-{place}", content) for place, one in enumerate((ec, rsa))
                      for name, content in candidate_of(one).files)  # fmt: skip
        scene.bring(Candidate(files))
        assert scene.look(days=36) == ["expiry_notice"]
        assert [one.meta.key_type for one in scene.told] == ["RSA"]
        assert sorted(scene.look(days=35)) == ["expiry_notice", "expiry_passed"]
        assert {one.meta.key_type: one.finding.code for one in scene.told} == {
            "EC": "expiry_notice",
            "RSA": "expiry_passed",
        }
