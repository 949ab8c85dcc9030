"""Reload: one way for new configuration and new code; the supervisor is executed anew, in its own process.

Promises: what can't serve is found before anything is given up (preflight.py), and then nothing has changed;
no listening socket is closed, no connection attempt fails, tunnels and event streams live on in the workers
that have them; the process id stays, so a service manager sees no restart.

Theory. The order is: pre-flight in a child, the store and the examiner at rest, signals held back,
descriptors made inheritable, exec. Between the store's rest and the exec no await stands but one, which lets
a signal that has already come be obeyed. From the exec on the new image finds all of it again by handover.py:
workers are its children as before, their channels open, their sockets in every one of them. Signals that come
in between wait until the new image listens to them. Should the exec itself fail (memory, a missing
interpreter), everything here still stands, and the reload is refused.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

import trio

from certstore import Store
from tlsproxy import handover, policy
from tlsproxy.config import Config
from tlsproxy.errors import ReloadError
from tlsproxy.handover import DoorState, HandedOver, WorkerState
from tlsproxy.listening import Doors
from tlsproxy.net.servicemanager import notify, notify_reloading
from tlsproxy.observe.events import EventLog
from tlsproxy.observe.log import flush, left_out, logger
from tlsproxy.preflight import ENVIRONMENT as PREFLIGHT
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.examiner import ExaminerProcess
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.remote import Stage

__all__ = ["SIGNALS", "Reloader"]

_log = logger("reload")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What a supervisor obeys; held back over an exec."""


@dataclass(eq=False, kw_only=True)
class Reloader:
    """Reloads one supervisor, again and again. `control_fd`: the control API's listening socket."""

    config: Config
    doors: Doors
    crew: Crew
    store: Store
    memory: Memory
    examiner: ExaminerProcess
    since: datetime
    control_fd: Callable[[], int]
    events: EventLog
    _one: trio.Lock = field(default_factory=trio.Lock)

    async def check(self) -> None:
        """Make the pre-flight. Raises ReloadError, with what the new image complains of."""
        async with self._one:
            fd = handover.write(self._state(lock_fd=-1))
            try:
                done = await self._fly(fd)
            finally:
                os.close(fd)
        if done is None:
            raise ReloadError(f"the pre-flight took longer than {policy.PREFLIGHT_S:g} s")
        if done.returncode:
            raise ReloadError(*_complaint(done.stderr.decode("utf-8", "replace"), done.returncode))

    async def _fly(self, fd: int) -> subprocess.CompletedProcess[bytes] | None:
        environment = {**os.environ, PREFLIGHT: str(fd)}
        with trio.move_on_after(policy.PREFLIGHT_S):
            try:
                return await trio.run_process(
                    _command(),
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                    env=environment,
                    pass_fds=(fd,),
                )
            except OSError as error:
                raise ReloadError(f"the new version can't be started: {error.strerror}") from error
        return None

    async def execute(self) -> None:
        """Execute ourselves anew: returns only where it was not to be. Raises ReloadError where it can't."""
        async with self._one:
            with ExitStack() as stack:
                lock_fd = await trio.to_thread.run_sync(stack.enter_context, self.store.at_rest())
                await trio.to_thread.run_sync(stack.enter_context, self.examiner.at_rest())
                blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
                stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, blocked)
                await trio.lowlevel.checkpoint()  # a signal that has come already is obeyed now
                if self.crew.stopping:
                    return
                self._exec(self._state(lock_fd=lock_fd))

    def _exec(self, state: HandedOver) -> None:
        fd = handover.write(state)
        handed = (*state.descriptors(), fd)
        _log.info("reloading", epoch=state.epoch + 1)
        notify_reloading()
        handover.set_inheritable(handed, inheritable=True)
        flush()  # the thread that writes the log ends with the exec
        try:
            os.execve(sys.executable, _command(), {**os.environ, **handover.named(fd)})  # noqa: S606  ourselves
        except OSError as error:
            handover.set_inheritable(handed, inheritable=False)
            os.close(fd)
            notify("READY=1")
            raise ReloadError(f"the new version can't be executed: {error.strerror}") from error

    def _state(self, *, lock_fd: int) -> HandedOver:
        return handover.make(
            epoch=self.crew.epoch,
            since=self.since,
            store=str(self.config.store),
            runtime=str(self.config.runtime),
            doors=[
                DoorState(
                    door.config.address,
                    door.config.kind,
                    [[sock.fileno() for sock in group] for group in door.groups],
                )
                for door in self.doors.doors
            ],
            lock_fd=lock_fd,
            control_fd=self.control_fd(),
            memory_fd=self.memory.fd,
            events=self.events.state(),
            workers=[
                WorkerState(w.pid, w.seat, w.epoch, int(w.stage), w.channel.fd, w.connections, w.counts)
                for w in self.crew.workers
                if w.stage is not Stage.GONE
            ],
            sums=[
                *self.crew.sums.counted(),
                (("tlsproxy_log_lines_left_out_total", "events"), float(left_out())),
            ],
        )


def _command() -> list[str]:
    """Give the command line by which this process was started."""
    return [sys.executable, *sys.orig_argv[1:]]


def _complaint(text: str, code: int) -> tuple[str, str]:
    """Find the error line and the hint line in what a command wrote, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = {
        kind: line.removeprefix(start)
        for kind, start in (("error", "tlsproxy: error: "), ("hint", "tlsproxy: hint: "))
        for line in lines
        if line.startswith(start)
    }
    last = lines[-1] if lines else f"the new version ends with exit code {code}"
    return told.get("error", last), told.get("hint", "")
