"""The quarantine, and who is still writing, on real files."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from certstore import quarantine
from certstore.firstboot import BUILD_DATE
from certstore.quarantine import KEPT_FOR, Quarantine
from certstore.rescan import read_snapshot
from certstore.snapshot import Kind
from certstore.writers import has_writer


def seen(place):
    return read_snapshot(place, Kind.INBOX).groups[0].entries


def test_only_the_file_that_was_judged_is_moved(tmp_path):
    (tmp_path / "bad.pem").write_bytes(b"bad")
    (tmp_path / "same.pem").write_bytes(b"same")
    judged = seen(tmp_path)
    (tmp_path / "new.pem").write_bytes(b"good")
    (tmp_path / "new.pem").rename(tmp_path / "bad.pem")
    assert Quarantine(tmp_path).take("000001-aa", judged) is None
    assert (tmp_path / "bad.pem").read_bytes() == b"good"
    assert [path.name for path in (tmp_path / ".refused" / "000001-aa").iterdir()] == ["same.pem"]


def test_a_moved_symlink_leaves_what_it_leads_to_as_it_was(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"bad")
    target.chmod(0o644)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "bad.pem").symlink_to(target)
    assert Quarantine(tmp_path / "inbox").take("000001-aa", seen(tmp_path / "inbox")) is None
    assert target.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "inbox" / ".refused" / "000001-aa" / "bad.pem").is_symlink()


def test_a_file_that_has_a_second_name_elsewhere_keeps_its_mode(tmp_path):
    other = tmp_path / "passwd"
    other.write_bytes(b"bad")
    other.chmod(0o644)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "bad.pem").hardlink_to(other)
    assert Quarantine(tmp_path / "inbox").take("000001-aa", seen(tmp_path / "inbox")) is None
    assert other.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "inbox" / ".refused" / "000001-aa" / "bad.pem").read_bytes() == b"bad"


def test_a_quarantine_that_others_can_enter_is_closed_again(tmp_path):
    (tmp_path / ".refused").mkdir()
    (tmp_path / ".refused").chmod(0o777)
    (tmp_path / "bad.pem").write_bytes(b"bad")
    assert Quarantine(tmp_path).take("000001-aa", seen(tmp_path)) is None
    assert (tmp_path / ".refused").stat().st_mode & 0o777 == 0o700


def test_what_is_older_than_a_week_goes_and_what_is_younger_stays(tmp_path, now):
    for name, age in (("old", KEPT_FOR + timedelta(hours=1)), ("young", KEPT_FOR - timedelta(hours=1))):
        folder = tmp_path / ".refused" / name
        folder.mkdir(parents=True)
        (folder / "key.pem").write_bytes(b"x")
        os.utime(folder, ((now - age).timestamp(),) * 2)
    Quarantine(tmp_path).prune(now)
    assert [path.name for path in (tmp_path / ".refused").iterdir()] == ["young"]


def test_a_folder_from_before_the_software_was_built_is_given_a_date_first(tmp_path):
    folder = tmp_path / ".refused" / "odd"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    later = max(BUILD_DATE, datetime.now(UTC)) + timedelta(days=1)
    Quarantine(tmp_path).prune(later)
    assert folder.stat().st_mtime == pytest.approx(later.timestamp())


def test_a_flood_of_refusals_is_bounded(tmp_path, now, monkeypatch):
    monkeypatch.setattr(quarantine, "KEPT", 3)
    for number in range(6):
        folder = tmp_path / ".refused" / str(number)
        folder.mkdir(parents=True)
        os.utime(folder, ((now - timedelta(minutes=number)).timestamp(),) * 2)
    Quarantine(tmp_path).prune(now)
    assert sorted(path.name for path in (tmp_path / ".refused").iterdir()) == ["0", "1", "2"]


def test_without_a_descriptor_left_nothing_is_pruned_and_nothing_raised(tmp_path, now):
    folder = tmp_path / ".refused" / "old"
    folder.mkdir(parents=True)
    os.utime(folder, ((now - 2 * KEPT_FOR).timestamp(),) * 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        Quarantine(tmp_path).prune(now)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert folder.exists()


def test_pruning_without_a_quarantine_makes_none(tmp_path, now):
    Quarantine(tmp_path).prune(now)
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_a_writer_as_long_as_somebody_has_it_open_for_writing(tmp_path):
    path = tmp_path / "a.pem"
    path.write_bytes(b"x")
    assert not has_writer(path)
    with path.open("ab"):
        assert has_writer(path)
    with path.open("rb"):
        assert not has_writer(path)
    assert not has_writer(tmp_path / "missing")


STORM = """
    import sys
    path = sys.argv[1]
    print("ready", flush=True)
    while True:
        with open(path, "ab"):
            pass
"""


def test_a_writer_that_comes_while_we_ask_neither_hurts_us_nor_is_hurt(tmp_path):
    assert signal.getsignal(signal.SIGIO) is signal.SIG_DFL  # it would end this process
    path = tmp_path / "a.pem"
    path.write_bytes(b"x")
    script = "\n".join(line[4:] for line in STORM.splitlines())
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        answers = {has_writer(path) for _ in range(20000)}
        assert writer.poll() is None
        writer.kill()
    assert answers == {True, False}
