"""Snapshots of real directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from certstore import rescan
from certstore.rescan import MAX_FILE_BYTES, TRUST_S, read_snapshot
from certstore.snapshot import Kind


class Clock:
    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    return Clock()


def entries(snapshot, group=0):
    return {entry.name: entry for entry in snapshot.groups[group].entries}


def test_contents_are_read_hidden_names_are_not(tmp_path):
    (tmp_path / "a.pem").write_bytes(b"a")
    (tmp_path / ".a.pem.swp").write_bytes(b"x")
    (tmp_path / ".refused").mkdir()
    snapshot = read_snapshot(tmp_path, Kind.INBOX)
    assert {name: entry.content for name, entry in entries(snapshot).items()} == {"a.pem": b"a"}
    assert snapshot.began_at <= snapshot.ended_at


def test_contents_never_stand_in_a_repr(tmp_path):
    (tmp_path / "a.key").write_bytes(b"secret")
    assert "secret" not in repr(read_snapshot(tmp_path, Kind.INBOX))


def test_sub_directories_are_groups_of_a_watched_path_and_findings_in_an_inbox(tmp_path):
    (tmp_path / "a.test").mkdir()
    (tmp_path / "a.test" / "cert.pem").write_bytes(b"a")
    (tmp_path / "a.test" / "deeper").mkdir()
    watched = read_snapshot(tmp_path, Kind.WATCH)
    assert [group.path for group in watched.groups] == [str(tmp_path), str(tmp_path / "a.test")]
    assert set(entries(watched, 1)) == {"cert.pem"}
    inbox = read_snapshot(tmp_path, Kind.INBOX)
    assert entries(inbox)["a.test"].trouble.code == "is_directory"


def test_a_file_at_the_limit_is_read_and_one_byte_more_is_too_large(tmp_path):
    (tmp_path / "fits").write_bytes(b"x" * MAX_FILE_BYTES)
    (tmp_path / "huge").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    seen = entries(read_snapshot(tmp_path, Kind.INBOX))
    assert len(seen["fits"].content) == MAX_FILE_BYTES
    assert seen["huge"].trouble.code == "file_too_large"


def test_a_file_that_lies_about_its_size_is_read_no_further_than_the_limit(tmp_path):
    (tmp_path / "endless").symlink_to("/proc/self/mem")
    (tmp_path / "zero").symlink_to("/dev/zero")
    seen = entries(read_snapshot(tmp_path, Kind.INBOX))
    assert seen["endless"].trouble.code in {"file_unreadable", "file_too_large"}
    assert seen["zero"].trouble.code == "not_a_file"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda p: p.symlink_to(p.name), "symlink_loop"),
        (lambda p: p.symlink_to("nowhere"), "symlink_dangling"),
        (os.mkfifo, "not_a_file"),
    ],
)
def test_what_can_not_be_read_is_an_entry_with_a_finding(tmp_path, make, code):
    make(tmp_path / "bad")
    assert entries(read_snapshot(tmp_path, Kind.INBOX))["bad"].trouble.code == code


@pytest.mark.parametrize(("path", "code"), [("missing", "path_missing"), ("file", "not_a_directory")])
def test_a_path_that_is_no_directory_is_a_finding(tmp_path, path, code):
    (tmp_path / "file").write_bytes(b"x")
    assert [finding.code for finding in read_snapshot(tmp_path / path, Kind.WATCH).trouble] == [code]


def test_a_crowd_of_files_is_cut_off_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(rescan, "MAX_ENTRIES", 3)
    for number in range(5):
        (tmp_path / f"{number}.pem").write_bytes(b"x")
    snapshot = read_snapshot(tmp_path, Kind.INBOX)
    assert len(snapshot.groups[0].entries) == 3
    assert [finding.code for finding in snapshot.trouble] == ["directory_too_full"]


def test_of_a_crowd_in_the_inbox_the_newest_are_looked_at(tmp_path, monkeypatch):
    """A good pair had to wait until thousands of files with earlier names were refused, one by one."""
    monkeypatch.setattr(rescan, "MAX_ENTRIES", 3)
    for number in range(50):
        (tmp_path / f"{number:02}.pem").write_bytes(b"junk")
    junk = max(path.stat().st_ctime_ns for path in tmp_path.iterdir())
    good = [tmp_path / "device.key", tmp_path / "device.pem"]
    for path in good:
        path.write_bytes(b"good")
        while path.stat().st_ctime_ns <= junk:  # the clock of files ticks each few milliseconds
            path.chmod(0o600)
    found = entries(read_snapshot(tmp_path, Kind.INBOX))
    assert [name for name, entry in found.items() if entry.content == b"good"] == ["device.key", "device.pem"]
    assert len(found) == 3


def test_many_large_files_fill_no_memory_and_keep_no_small_one_out(tmp_path, monkeypatch):
    monkeypatch.setattr(rescan, "MAX_HELD_BYTES", 2_500)
    for name in "abcd":
        (tmp_path / name).write_bytes(b"x" * 1_000)
    (tmp_path / "small.pem").write_bytes(b"small")
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "inner.pem").write_bytes(b"y" * 600)
    snapshot = read_snapshot(tmp_path, Kind.WATCH)
    assert set(entries(snapshot)) == {"a", "b", "small.pem"}
    assert entries(snapshot, 1) == {}
    assert {finding.code for finding in snapshot.trouble} == {"directory_too_full"}


def test_a_file_is_read_again_until_its_identity_can_be_trusted_and_then_no_more(tmp_path, clock):
    path = tmp_path / "a.pem"
    path.write_bytes(b"a")
    first = read_snapshot(tmp_path, Kind.INBOX, None, clock)
    clock.at += TRUST_S / 2
    young = read_snapshot(tmp_path, Kind.INBOX, first, clock)
    assert entries(young)["a.pem"] is not entries(first)["a.pem"]
    clock.at += TRUST_S
    trusted = read_snapshot(tmp_path, Kind.INBOX, young, clock)
    clock.at += 1
    assert entries(read_snapshot(tmp_path, Kind.INBOX, trusted, clock))["a.pem"] is entries(trusted)["a.pem"]


def test_a_change_that_restores_size_and_time_is_still_seen(tmp_path, clock):
    path = tmp_path / "a.pem"
    path.write_bytes(b"old")
    status = path.stat()
    snapshot = None
    for _ in range(3):
        snapshot = read_snapshot(tmp_path, Kind.INBOX, snapshot, clock)
        clock.at += TRUST_S
    path.write_bytes(b"new")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert entries(read_snapshot(tmp_path, Kind.INBOX, snapshot, clock))["a.pem"].content == b"new"


def test_names_that_are_no_text_are_kept_as_they_are(tmp_path):
    name = os.fsdecode(b"\xff\n.pem")
    (tmp_path / name).write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    entry = entries(read_snapshot(tmp_path, Kind.INBOX))[name]
    assert "\n" not in entry.trouble.words
    entry.trouble.words.encode()  # fit for a log


def test_no_descriptor_is_left_open(tmp_path):
    (tmp_path / "a.pem").write_bytes(b"a")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for kind in Kind:
        read_snapshot(tmp_path, kind)
        read_snapshot(tmp_path / "missing", kind)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
