from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest

from certstore.errors import StoreLocked, StoreNotWritable
from certstore.lock import Lock

# Holds the lock until its input ends; says when it has it.
HOLDER = """
import sys
from pathlib import Path
from certstore.lock import Lock
lock = Lock.acquire(Path(sys.argv[1]), "process 4711, since today")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def other(path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_another_process_is_told_who_holds_it(path, other):
    with pytest.raises(StoreLocked) as caught:
        Lock.acquire(path, "us")
    assert caught.value.holder == "process 4711, since today"
    assert caught.value.path == path.parent
    assert str(caught.value) == f"the store {path.parent} is in use by process 4711, since today"


def test_a_killed_holder_leaves_no_stale_lock(path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait(10)
    Lock.acquire(path, "us").release()


def test_waiting_ends_when_the_holder_goes(path, other):
    threading.Timer(0.05, other.stdin.close).start()
    Lock.acquire(path, "us", wait_s=10).release()


def test_a_second_holder_in_the_same_process_is_shut_out_too(path):
    lock = Lock.acquire(path, "the first")
    with pytest.raises(StoreLocked, match="the first"):
        Lock.acquire(path, "the second", wait_s=0.03)
    lock.release()
    lock.release()
    Lock.acquire(path, "the second").release()


def test_the_note_of_who_held_it_goes_with_it(path):
    Lock.acquire(path, "us").release()
    assert path.read_bytes() == b""


def test_a_garbled_note_is_not_shown(path):
    lock = Lock.acquire(path, "x")
    path.write_bytes(b"\x1b[2J\xff")
    with pytest.raises(StoreLocked, match="another process"):
        Lock.acquire(path, "y")
    lock.release()


def test_a_place_that_cant_be_locked_says_why(tmp_path):
    with pytest.raises(StoreNotWritable, match=r"[Nn]o such file"):
        Lock.acquire(tmp_path / "nowhere" / "lock", "us")


def test_a_file_system_without_locks_says_so(path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreNotWritable, match="can't be locked"):
        Lock.acquire(path, "us")


def test_a_lock_file_that_cant_be_written_can_still_be_held(path, monkeypatch):
    """A store on a read-only file system is served, and still by one process only."""
    path.touch()
    whole = os.open

    def read_only(name, flags, *mode):
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return whole(name, flags, *mode)

    monkeypatch.setattr(os, "open", read_only)
    lock = Lock.acquire(path, "us")
    with pytest.raises(StoreLocked, match="another process"):
        Lock.acquire(path, "others")
    lock.release()
