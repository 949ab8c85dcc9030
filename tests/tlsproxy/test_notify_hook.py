"""Commands that misbehave, run for real: whatever they do, nobody waits for ever and nothing stays open."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tlsproxy import policy_notices
from tlsproxy.notify import hook
from tlsproxy.notify.helper import is_program

LIMIT_S = 60.0

# It leaves a child in a session of its own, with all that it was given open, and tells its number.
DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    sys.stdin.read()
    os.read(os.open(sys.argv[1], os.O_RDONLY), 1)
    os._exit(0)
"""


def opened() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


@contextmanager
def all_closed() -> Iterator[None]:
    """See that a block closes what it opens by itself, and not only when rubbish is collected."""
    before = opened()
    gc.disable()
    try:
        yield
        assert opened() == before
    finally:
        gc.enable()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def failing_at(call: int, real: Callable[..., Any]) -> Callable[..., Any]:
    count = 0

    def maybe(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(*arguments)

    return maybe


@pytest.mark.parametrize(("what", "call"), [("dup", 1), ("dup", 2), ("pidfd_open", 1)])
async def test_where_a_descriptor_is_missing_in_the_midst_the_others_are_closed(
    monkeypatch, what, call
) -> None:
    with trio.fail_after(LIMIT_S), all_closed():
        with monkeypatch.context() as patched:
            patched.setattr(os, what, failing_at(call, getattr(os, what)))
            kept = [await hook.run(["/bin/sleep", "1000"], b"{}\n", 20.0)]
        assert kept[0].why == "it can't be followed: too many open files"


async def test_a_daemon_that_keeps_the_pipes_open_keeps_nobody(tmp_path) -> None:
    """It made a session of its own, so the kill of the group doesn't reach it."""
    pipe = tmp_path / "until"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)  # it lives until this is written to
    try:
        with trio.fail_after(LIMIT_S), all_closed():
            ended = await hook.run([sys.executable, "-c", DAEMON, str(pipe)], b"{}\n", 50.0)
        assert ended.why == ""
    finally:
        os.write(held, b"x")
        os.close(held)


async def test_a_flood_of_output_is_read_to_its_end_and_forgotten() -> None:
    flood = "head -c 100000000 /dev/zero | tr '\\0' 'x'; echo; echo the end"
    with trio.fail_after(LIMIT_S), all_closed():
        ended = await hook.run(["/bin/sh", "-c", flood], b"{}\n", 50.0)
    assert ended.why == ""
    assert len(ended.output) == policy_notices.OUTPUT_BYTES


async def test_one_that_ends_before_it_has_read_its_line_has_ended_well() -> None:
    with trio.fail_after(LIMIT_S), all_closed():
        ended = await hook.run(["/bin/true"], b"x" * 10_000_000, 50.0)
    assert ended.why == ""


async def test_one_that_closes_its_output_is_waited_for_all_the_same() -> None:
    with trio.fail_after(LIMIT_S), all_closed():
        ended = await hook.run(["/bin/sh", "-c", "exec >&- 2>&- <&-; kill -TERM $$"], b"{}\n", 50.0)
    assert ended.why == f"it ended by signal {int(signal.SIGTERM)}"


def test_a_folder_is_no_program_though_one_may_enter_it(tmp_path: Path) -> None:
    """Nobody was told at the start, but when the hook was to run."""
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    found = [is_program(str(one)) for one in (tmp_path, tmp_path / "plain", tmp_path / "absent", "/bin/sh")]
    assert found == [False, False, False, True]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["{folder}"], "permission denied"),
        (["{folder}/plain"], "permission denied"),
        (["{folder}/absent"], "no such file or directory"),
        (["{folder}/plain/below"], "not a directory"),
        (["{folder}/strange"], "exec format error"),
        (["/bin/echo", "a\0b"], "embedded null byte"),
        (["/bin/echo", "x" * 300_000], "argument list too long"),
    ],
)
async def test_what_is_no_command_is_told(tmp_path: Path, words: list[str], why: str) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "strange").write_bytes(b"\x00\x01")
    (tmp_path / "strange").chmod(0o755)
    with trio.fail_after(LIMIT_S), all_closed():
        ended = await hook.run([one.format(folder=tmp_path) for one in words], b"{}\n", 20.0)
    assert ended.why == f"it can't be started: {why}"
