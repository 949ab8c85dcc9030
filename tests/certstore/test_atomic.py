from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from certstore.atomic import Disk
from certstore.errors import StoreNotWritable


class Journal:
    """Notes every step, and fails at one of them."""

    def __init__(self, fail_at: int | None = None, number: int = errno.ENOSPC) -> None:
        self.steps: list[tuple[str, str]] = []
        self.fail_at = fail_at
        self.number = number

    def __call__(self, step: str, path: Path) -> None:
        self.steps.append((step, path.name))
        if len(self.steps) == self.fail_at:
            raise OSError(self.number, os.strerror(self.number))


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_content_is_synced_before_its_name_and_the_name_before_the_return(tmp_path):
    journal = Journal()
    Disk(journal).write(tmp_path / "active", b"7\n")
    assert journal.steps == [
        ("create", ".new-active"),
        ("write", ".new-active"),
        ("sync", ".new-active"),
        ("rename", "active"),
        ("sync_folder", tmp_path.name),
    ]
    assert (tmp_path / "active").read_bytes() == b"7\n"
    assert listing(tmp_path) == ["active"]


def test_a_folder_of_files_gets_its_name_when_all_of_it_is_synced(tmp_path):
    journal = Journal()
    Disk(journal).place_folder(tmp_path / "b", {"key.pem": b"k", "chain.pem": b"c"})
    steps = [step for step, _ in journal.steps]
    assert steps.count("sync") == 2
    assert steps[-3:] == ["sync_folder", "rename", "sync_folder"]
    assert (tmp_path / "b" / "key.pem").read_bytes() == b"k"


def test_keys_are_for_their_owner_only_whatever_the_umask_allows(tmp_path):
    before = os.umask(0)
    try:
        Disk().place_folder(tmp_path / "b", {"key.pem": b"k"})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "b" / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("fail_at", [1, 2, 3, 4])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_half_done(tmp_path, fail_at):
    path = tmp_path / "active"
    path.write_bytes(b"old")
    with pytest.raises(StoreNotWritable) as caught:
        Disk(Journal(fail_at)).write(path, b"new")
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["active"]
    assert caught.value.path == path
    assert "no space left" in str(caught.value).lower()


@pytest.mark.parametrize("fail_at", range(1, 10))
def test_a_folder_that_fails_leaves_nothing(tmp_path, fail_at):
    with pytest.raises(StoreNotWritable):
        Disk(Journal(fail_at)).place_folder(tmp_path / "b", {"key.pem": b"k", "chain.pem": b"c"})
    assert listing(tmp_path) == []


def test_what_a_failed_cleaning_left_is_no_obstacle(tmp_path):
    (tmp_path / ".new-b").mkdir()
    (tmp_path / ".new-b" / "key.pem").write_bytes(b"stale")
    (tmp_path / ".new-active").write_bytes(b"stale and longer")
    Disk().place_folder(tmp_path / "b", {"chain.pem": b"c"})
    Disk().write(tmp_path / "active", b"1")
    assert listing(tmp_path / "b") == ["chain.pem"]
    assert (tmp_path / "active").read_bytes() == b"1"


def test_a_link_in_the_place_of_the_half_written_file_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".new-active").symlink_to(victim)
    with pytest.raises(StoreNotWritable):
        Disk().write(tmp_path / "store" / "active", b"1")
    assert victim.read_bytes() == b"precious"


def test_a_folder_disappears_under_its_name_before_any_of_its_files_does(tmp_path):
    Disk().place_folder(tmp_path / "b", {"key.pem": b"k", "chain.pem": b"c"})
    journal = Journal()
    Disk(journal).remove_folder(tmp_path / "b")
    assert [step for step, _ in journal.steps] == ["rename", "sync_folder", "unlink", "unlink", "rmdir"]
    assert listing(tmp_path) == []
    Disk().remove_folder(tmp_path / "b")  # again: nothing to do


def test_what_a_failed_removal_left_is_no_obstacle_to_the_next(tmp_path):
    Disk().place_folder(tmp_path / "b", {"key.pem": b"k"})
    with pytest.raises(StoreNotWritable):
        Disk(Journal(3)).remove_folder(tmp_path / "b")
    assert listing(tmp_path) == [".new-b"]
    Disk().place_folder(tmp_path / "c", {"key.pem": b"k"})
    (tmp_path / "c").rename(tmp_path / "b")
    Disk().remove_folder(tmp_path / "b")
    assert listing(tmp_path) == []


def test_removing_files_syncs_each_folder_once_and_nothing_where_nothing_was(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"")
    journal = Journal()
    Disk(journal).remove(tmp_path / name for name in "abc")
    assert [step for step, _ in journal.steps] == ["unlink"] * 3 + ["sync_folder"]
    idle = Journal()
    Disk(idle).remove([tmp_path / "a"])
    assert [step for step, _ in idle.steps] == ["unlink"]


def test_only_what_is_half_done_is_swept_away(tmp_path):
    (tmp_path / ".new-x").write_bytes(b"")
    (tmp_path / ".new-b").mkdir()
    (tmp_path / ".new-b" / "key.pem").write_bytes(b"")
    (tmp_path / "x").write_bytes(b"")
    (tmp_path / ".refused").mkdir()
    Disk().clear_aside(tmp_path)
    assert listing(tmp_path) == [".refused", "x"]


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    """A nearly full disk may take a part of what it is given."""
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, bytes(data[:3])))
    Disk().write(tmp_path / "x", b"0123456789")
    assert (tmp_path / "x").read_bytes() == b"0123456789"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cant_sync_folders_is_good_enough(tmp_path, monkeypatch, number):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    Disk().write(tmp_path / "x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"
