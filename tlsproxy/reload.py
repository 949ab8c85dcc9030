"""Reload: one way for new configuration and new code; the supervisor is executed anew, in its own process.

Promises: what can't serve is found before anything is given up (preflight.py), and then nothing has changed;
no listening socket is closed, no connection attempt fails, tunnels and event streams live on in the workers
that have them; the process id stays, so a service manager sees no restart.

Theory. The order is: pre-flight in a child, store, examiner and hook helper at rest, signals held back,
descriptors made inheritable, exec. The configuration is read by the pre-flight only: the new image gets those
very bytes (checked.py). Between the store's rest and the exec nothing is waited for but that
signals which have come already are obeyed. From the exec on the new image finds all of it again by
handover.py: workers are its children as before, their channels open, their sockets in every one of them.
Signals that come in between wait until the new image listens to them. Should the exec itself fail (memory, a
missing interpreter), everything here still stands, and the reload is refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import trio

from certstore import Store, StoreGone
from tlsproxy import checked, handover, policy
from tlsproxy.config import Config
from tlsproxy.errors import ReloadError
from tlsproxy.handover import DoorState, HandedOver, WorkerState
from tlsproxy.listening import Doors
from tlsproxy.net.servicemanager import notify, notify_reloading
from tlsproxy.notify.helper import Notifier
from tlsproxy.observe.events import EventLog
from tlsproxy.observe.log import flush, left_out, logger
from tlsproxy.observe.upstreams import UpstreamStatus
from tlsproxy.preflight import ENVIRONMENT as PREFLIGHT
from tlsproxy.privilege.supervisor import Kept
from tlsproxy.signals import SIGNALS, Gate
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.examiner import ExaminerProcess
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.remote import RemoteWorker

__all__ = ["Reloader"]

_log = logger("reload")


@dataclass(eq=False, kw_only=True)
class Reloader:
    """Reloads one supervisor, again and again. `control_fd`: the control API's listening socket."""

    config: Config
    doors: Doors
    crew: Crew
    store: Store
    memory: Memory
    examiner: ExaminerProcess
    gate: Gate
    since: datetime
    control_fd: Callable[[], int]
    kept: Kept | None
    events: EventLog
    notifier: Notifier
    upstreams: Callable[[], Sequence[UpstreamStatus]]
    _one: trio.Lock = field(default_factory=trio.Lock)
    _checked: int = -1
    """The configuration that the last pre-flight has found good (checked.py); -1: the file is to be read."""

    async def check(self) -> None:
        """Make the pre-flight. Raises ReloadError, with what the new image complains of."""
        async with self._one:
            with _refusing("the new version can't be started"), ExitStack() as stack:
                if not self.store.is_here:
                    raise StoreGone(self.config.store)
                content = checked.make()
                stack.callback(os.close, content)
                done = await self._fly(content)
                if done is None:
                    raise ReloadError(f"the pre-flight took longer than {policy.PREFLIGHT_S:g} s")
                if done.returncode:
                    raise ReloadError(*_complaint(done.stderr.decode("utf-8", "replace"), done.returncode))
                before, self._checked = self._checked, -1
                if before >= 0:
                    os.close(before)
                if checked.seal(content):  # else there is no file, or that version hands none back
                    stack.pop_all()
                    self._checked = content

    async def _fly(self, content: int) -> subprocess.CompletedProcess[bytes] | None:
        with ExitStack() as stack, trio.move_on_after(policy.PREFLIGHT_S):
            fd = handover.write(self._state(lock_fd=-1))
            stack.callback(os.close, fd)
            return await trio.run_process(
                _command(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env={**os.environ, PREFLIGHT: str(fd), **checked.named(content)},
                pass_fds=(fd, content),
            )
        return None

    async def execute(self) -> None:
        """Execute ourselves anew: returns only where it was not to be. Raises ReloadError where it can't."""
        async with self._one:
            with ExitStack() as stack, _refusing("the new version can't be executed"):
                lock_fd = await trio.to_thread.run_sync(self._rest, stack)
                stack.enter_context(self.gate.closed())
                await _wait_obeyed()
                if self.crew.stopping:
                    return
                self._exec(self._state(lock_fd=lock_fd))

    def _rest(self, stack: ExitStack) -> int:
        """Bring store, examiner and the hook helper to rest, in one thread.

        A second one might not be had: all may be taken by changes that wait for the store.
        """
        lock_fd = stack.enter_context(self.store.at_rest())
        stack.enter_context(self.examiner.at_rest())
        stack.enter_context(self.notifier.at_rest())
        return lock_fd

    def _exec(self, state: HandedOver) -> None:
        with ExitStack() as failed:
            fd = handover.write(state)
            failed.callback(os.close, fd)
            environment = {**os.environ, **handover.named(fd)}
            handed = [*state.descriptors(), fd]
            if self._checked >= 0:
                environment |= checked.named(self._checked)
                handed.append(self._checked)
            failed.callback(handover.set_inheritable, handed, inheritable=False)
            handover.set_inheritable(handed, inheritable=True)
            _log.info("reloading", epoch=state.epoch + 1)
            notify_reloading()
            failed.callback(notify, "READY=1")
            flush()  # the thread that writes the log ends with the exec
            os.execve(sys.executable, _command(), environment)  # noqa: S606  ourselves

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
            workers=[_state_of(worker) for worker in self.crew.workers],
            kept=self.kept,
            helper=self.notifier.state(),
            told=self.notifier.handed,
            upstreams=list(self.upstreams()),
            sums=[
                *self.crew.sums.counted(),
                (("tlsproxy_log_lines_left_out_total", "events"), float(left_out())),
            ],
            asked=list(self.crew.sums.clientele.asked.items()),
            strict=list(self.crew.sums.clientele.strict.items()),
            refused=list(self.crew.sums.clientele.refused.items()),
        )


def _state_of(worker: RemoteWorker) -> WorkerState:
    return WorkerState(
        worker.pid,
        worker.seat,
        worker.epoch,
        int(worker.stage),
        worker.channel.fd,
        worker.connections,
        worker.channel.unread,
        worker.channel.unsent,
        worker.counts,
        worker.names,
    )


@contextmanager
def _refusing(words: str) -> Iterator[None]:
    """Refuse the reload where the store is gone, or no descriptor, memory, process or thread is left."""
    try:
        yield
    except StoreGone as error:  # who gave up the folder that is held couldn't take up another
        raise ReloadError(str(error), error.hint) from error
    except OSError as error:
        raise ReloadError(f"{words}: {error.strerror or error}") from error
    except RuntimeError as error:  # what threading says where no thread is to be had
        raise ReloadError(f"{words}: {error}") from error


async def _wait_obeyed() -> None:
    """Return when every signal that came before this call is obeyed.

    Two queues lie in between: that of trio's callbacks, at whose end we put one of ours, and that of the
    signal receiver, which takes one number a turn.
    """
    handed_on = trio.Event()
    trio.lowlevel.current_trio_token().run_sync_soon(handed_on.set)
    await handed_on.wait()
    for _ in SIGNALS:
        await trio.lowlevel.checkpoint()


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
