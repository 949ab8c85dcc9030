"""The log's outlet: who writes never waits, whatever becomes of the reader."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from tlsproxy.observe import log
from tlsproxy.observe.outlet import Manner, Outlet, manner_of

DEADLINE_S = 20.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with suppress(OSError):  # the test has
            os.close(fd)


def read_until(reader: int, last: bytes) -> bytes:
    data = b""
    while not data.endswith(last):
        data += os.read(reader, 65_536)
    return data


def test_who_writes_to_a_pipe_that_nobody_reads_never_waits_and_what_is_dropped_is_counted(pipe):
    reader, writer = pipe
    outlet = Outlet(writer, most_bytes=100_000)
    line = b"x" * 999 + b"\n"
    taken = sum(outlet.write([line]) for _ in range(1000))
    assert taken + outlet.dropped == 1000
    assert 100 <= taken <= 300  # what waits here, and what the pipe holds
    assert not outlet.flush(0.05)
    got = b""
    while len(got) < taken * 1000:  # the reader is back: nothing that was taken is lost
        got += os.read(reader, 65_536)
    assert got == line * taken
    assert outlet.flush(DEADLINE_S)
    assert outlet.write([line])


def test_a_reader_that_is_gone_hurts_nobody(pipe):
    reader, writer = pipe
    os.close(reader)
    outlet = Outlet(writer)
    for _ in range(100):
        outlet.write([b"line\n"])
        assert outlet.flush(DEADLINE_S)
    assert not outlet.dropped


def test_lines_of_two_on_one_pipe_stay_whole(pipe):
    reader, writer = pipe
    outlets = [Outlet(writer), Outlet(writer)]
    lines = [bytes([65 + i]) * (100 + 37 * n % 3900) + b"\n" for n in range(100) for i in range(2)]
    got = bytearray()
    done = threading.Event()

    def read() -> None:
        while got.count(b"\n") < len(lines):
            got.extend(os.read(reader, 1000))
        done.set()

    threading.Thread(target=read, daemon=True).start()
    for number, line in enumerate(lines):
        outlets[number % 2].write([line])
    assert done.wait(DEADLINE_S)
    assert sorted(bytes(got).splitlines(keepends=True)) == sorted(lines)


def test_a_descriptor_that_a_neighbour_made_non_blocking_is_waited_for(pipe):
    reader, writer = pipe
    os.set_blocking(writer, False)
    outlet = Outlet(writer)
    outlet.write([b"x" * 300_000, b"end\n"])
    assert len(read_until(reader, b"end\n")) == 300_004


def test_no_thread_begins_while_a_process_must_be_alone_and_nothing_told_meanwhile_is_lost(pipe):
    reader, writer = pipe
    outlet = Outlet(writer)
    threads = threading.active_count()
    with outlet.alone():
        assert outlet.write([b"while alone\n"])
        assert not outlet.flush(DEADLINE_S)  # it says so at once
        assert threading.active_count() == threads
    assert read_until(reader, b"\n") == b"while alone\n"


def test_a_log_without_a_thread_to_be_had_waits_for_one_and_fails_nobody(pipe, monkeypatch):
    reader, writer = pipe
    outlet = Outlet(writer)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as shortage:
        shortage.setattr("threading.Thread.start", refuse)
        assert outlet.write([b"one\n"])
        assert not outlet.flush(DEADLINE_S)
    assert outlet.write([b"two\n"])
    assert read_until(reader, b"two\n") == b"one\ntwo\n"


def test_signals_are_left_to_the_main_thread(pipe):
    reader, writer = pipe
    Outlet(writer).write([b"line\n"])
    read_until(reader, b"\n")
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for task in Path("/proc/self/task").iterdir():
            if task.name == str(os.getpid()):
                continue
            status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
            if int(status["SigBlk"], 16) >> (signal.SIGTERM - 1) & 1:
                return
    pytest.fail("no thread blocks SIGTERM")


def everything_from(reader: int, outlet: Outlet) -> bytes:
    """Read until the outlet has nothing more to write."""
    os.set_blocking(reader, False)
    got = b""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        done = outlet.flush(0.01)
        with suppress(BlockingIOError):
            while data := os.read(reader, 65_536):
                got += data
        if done:
            return got
    pytest.fail("the outlet never ends")


def test_the_log_tells_how_many_lines_were_dropped_once_there_is_room(pipe, monkeypatch):
    reader, writer = pipe
    outlet = Outlet(writer, most_bytes=100_000)
    monkeypatch.setattr(log, "_outlets", [outlet])
    with os.fdopen(os.dup(writer), "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        log.configure("json")
        for number in range(3000):
            log.logger("x").info("event", number=number)
        dropped = log.left_out()
        assert dropped > 0
        got = everything_from(reader, outlet)
        log.logger("x").info("last")
        got += everything_from(reader, outlet)
    structlog.reset_defaults()
    events = [json.loads(line) for line in got.splitlines()]
    # more than once, where the writer found room amidst the flood
    assert sum(e["count"] for e in events if e["event"] == "lines_dropped") == dropped
    assert "last" in [e["event"] for e in events[-2:]]


def test_the_journal_gets_priorities_and_a_pipe_to_somebody_else_none(pipe, monkeypatch):
    _, writer = pipe
    facts = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{facts.st_dev}:{facts.st_ino}")
    manner = manner_of("auto", writer)
    assert manner == Manner(is_console=False, priorities=True)
    assert [manner.begin(level) for level in ("debug", "info", "warning", "error")] == [
        "<7>",
        "<6>",
        "<4>",
        "<3>",
    ]
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    assert not manner_of("auto", writer).priorities
    assert not Manner(is_console=True).begin("error")


def test_an_event_in_the_journal_begins_with_its_priority(pipe, monkeypatch):
    reader, writer = pipe
    facts = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{facts.st_dev}:{facts.st_ino}")
    monkeypatch.setattr(log, "_outlets", [])
    with os.fdopen(os.dup(writer), "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        monkeypatch.setattr("atexit.register", lambda _act: None)
        log.configure("auto")
        log.logger("x").warning("trouble", why="none")
        line = read_until(reader, b"\n").decode()
    structlog.reset_defaults()
    assert line.startswith("<4>{")
    assert json.loads(line[3:])["event"] == "trouble"


def test_a_small_pipe_is_enough(pipe):
    reader, writer = pipe
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    outlet = Outlet(writer)
    for _ in range(100):
        outlet.write([b"y" * 500 + b"\n"])
    outlet.write([b"end\n"])
    assert len(read_until(reader, b"end\n")) == 100 * 501 + 4
