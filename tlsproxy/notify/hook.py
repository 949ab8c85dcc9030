"""Runs the hook command once: one line on its standard input, a clean environment, a time limit, no shell.

Promises: within the limit it has ended, or it and its process group were killed; what it left in its group is
killed in any case; its output is read to the end and kept to a bound. Refuses to know about another try.

Theory. A group is killed while its leader is not reaped yet: until then its number can't be anybody else's
(a pidfd tells of the end without reaping, pidfd_open(2)). Whoever makes a session of its own escapes that;
it is the device maker's program. A child that keeps our pipe open doesn't keep us: after the kill nobody
waits for the pipe's end. Known limit: where this process is itself ended by force, what it runs goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import trio

from tlsproxy import policy_notices as policy

__all__ = ["Ended", "run"]

_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_READ_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Ended:
    """why: "" where it ended with 0. output: what it wrote, cut and made printable."""

    why: str
    output: str = ""
    last_line: str = ""
    """The last line of that which says something."""


async def run(
    command: Sequence[str], line: bytes, limit_s: float, environment: Mapping[str, str] = MappingProxyType({})
) -> Ended:
    """Run the command, which finds this beside the usual in its environment; cancelled, it is killed."""
    try:
        process = _start(command, environment)  # some milliseconds, in a process with nothing better to do
    except (OSError, ValueError) as error:  # ValueError: a word of the command holds a NUL
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        return Ended(f"it can't be started: {why.lower()}")
    output = bytearray()
    in_time = False
    try:
        with trio.move_on_after(limit_s):
            await _converse(process, line, output)
            in_time = True
    except OSError as error:  # no descriptor is left, which passes
        return Ended(f"it can't be followed: {(error.strerror or str(error)).lower()}")
    finally:
        _kill(process)
    text = output.decode("utf-8", "replace")
    last = next(filter(None, (_printable(one) for one in reversed(text.splitlines()))), "")
    if not in_time:
        return Ended(f"it was killed: it did not end within {limit_s:g} s", _printable(text), last)
    return Ended(_why(process.returncode), _printable(text), last)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill it with its group, and reap it: that takes no time, or is left for later."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(policy.KILL_S)
    except subprocess.TimeoutExpired:
        _left.append(process)


# Those that can't be killed, to be reaped once they have ended: another user's by now (sudo), whose group may
# still take the signal; or in the midst of a system call that nothing ends (a file server that is gone).
_left: list[subprocess.Popen[bytes]] = []


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    _left[:] = [process for process in _left if process.poll() is None]
    return subprocess.Popen(  # noqa: S603  what was configured
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={**_ENVIRONMENT, **environment},
        start_new_session=True,
    )


def _why(code: int) -> str:
    if code < 0:
        return f"it ended by signal {-code}"
    return f"it ended with exit code {code}" if code else ""


async def _converse(process: subprocess.Popen[bytes], line: bytes, output: bytearray) -> None:
    """Give it its line, take what it says, and return when it has ended, not reaped yet."""
    assert process.stdin is not None
    assert process.stdout is not None
    async with AsyncExitStack() as held:  # what is open is closed, also where no other descriptor is left
        with process.stdin as one, process.stdout as other:
            stdin = await held.enter_async_context(trio.lowlevel.FdStream(os.dup(one.fileno())))
            stdout = await held.enter_async_context(trio.lowlevel.FdStream(os.dup(other.fileno())))
        pidfd = os.pidfd_open(process.pid)
        held.callback(os.close, pidfd)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, stdin, line)
            nursery.start_soon(_read, stdout, output)
            await trio.lowlevel.wait_readable(pidfd)
            with trio.move_on_after(0.05):  # what it wrote last is in the pipe already
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()


async def _write(stdin: trio.lowlevel.FdStream, line: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # it need not listen
        await stdin.send_all(line)
    await stdin.aclose()


async def _read(stdout: trio.lowlevel.FdStream, output: bytearray) -> None:
    async for data in stdout:
        output += data[: max(policy.OUTPUT_BYTES - len(output), 0)]
