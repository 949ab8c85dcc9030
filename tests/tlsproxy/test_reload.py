"""A reload up to its exec, in this process: what it hands over, what refuses it, what comes in between."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from certstore import Candidate, InProcess, Receipt, Source, State
from tests.live.https_client import Client
from tests.tlsproxy.test_app import config_for
from tests.tlsproxy.test_workers_crew import Scene, scene_of
from tlsproxy import app, handover, reload
from tlsproxy.cli import main
from tlsproxy.config import NotifyConfig
from tlsproxy.control.client import Client as Control
from tlsproxy.errors import ReloadError
from tlsproxy.handover import HandedOver
from tlsproxy.notify.helper import Notifier
from tlsproxy.observe.events import EventLog
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.privilege.supervisor import Kept
from tlsproxy.signals import SIGNALS, Gate, let_in
from tlsproxy.workers.examiner import ExaminerProcess
from tlsproxy.workers.remote import Stage

DEADLINE_S = 60
reload_command = import_module("tlsproxy.cli.reload")  # its name in the package is the command's


class Executed:
    """Stands in for the exec: looks at what is handed over, and fails as an exec may."""

    def __init__(self) -> None:
        self.states: list[HandedOver] = []
        self.inheritable: list[list[bool]] = []

    def __call__(self, _path: str, _arguments: Sequence[str], environment: dict[str, str]) -> None:
        state = handover.read(int(environment[handover.ENVIRONMENT]))
        self.states.append(state)
        self.inheritable.append([os.get_inheritable(fd) for fd in state.descriptors()])
        raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.fixture(autouse=True)
def unfenced(monkeypatch) -> None:
    """Stay who we are: the proxy is this very process, and its fence would hold for all later tests."""
    monkeypatch.setattr(app, "settle", lambda *_: Kept.nothing("part of a test"))


@pytest.fixture
def executed(monkeypatch) -> Executed:
    executed = Executed()
    monkeypatch.setattr(os, "execve", executed)
    monkeypatch.setattr(reload, "_command", lambda: [sys.executable, "-c", ""])  # a pre-flight that goes well
    return executed


class Log:
    """What is logged while the test runs."""

    def __init__(self, lines: Sequence[Any]) -> None:
        self._lines = lines

    def of(self, event: str) -> list[Any]:
        return [line for line in self._lines if line["event"] == event]

    async def wait(self, event: str, times: int = 1) -> Any:
        while len(self.of(event)) < times:  # noqa: ASYNC110
            await trio.sleep(0.01)
        return self.of(event)[-1]


@pytest.fixture
def log():
    with structlog.testing.capture_logs() as lines:
        yield Log(lines)


@asynccontextmanager
async def proxy(folder: Path) -> AsyncIterator[int]:
    """Run a proxy here while the block runs; gives its port."""
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            (served,) = await nursery.start(partial(app.run, config_for(folder), program=app.Program()))
            yield served.port
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def reloader(folder: Path) -> AsyncIterator[tuple[Scene, reload.Reloader]]:
    async with scene_of(folder, 1) as scene:
        with ExaminerProcess(TLSPolicy()) as examiner, (folder / "control").open("w") as control:
            yield (
                scene,
                reload.Reloader(
                    config=scene.config,
                    doors=scene.doors,
                    crew=scene.crew,
                    store=scene.store,
                    memory=scene.memory,
                    examiner=examiner,
                    gate=Gate(),
                    since=app.now(),
                    control_fd=control.fileno,
                    kept=None,
                    events=EventLog(app.now),
                    notifier=Notifier(NotifyConfig(), None, None, reloaded=False),
                    upstreams=tuple,
                ),
            )


def imported(folder: Path, candidate: Candidate) -> Receipt:
    with Control(config_for(folder).control_socket) as control:
        return control.propose(candidate, "import")


async def test_an_exec_that_fails_leaves_everything_as_it_was(tmp_path, pki, executed, log) -> None:
    async with proxy(tmp_path) as port:
        signal.raise_signal(signal.SIGHUP)
        refused = await log.wait("reload_refused")
        assert "can't be executed" in refused["why"]
        assert executed.inheritable[0]
        assert all(executed.inheritable[0])
        assert not any(os.get_inheritable(fd) for fd in executed.states[0].descriptors())
        issued = pki.leaf()
        candidate = Candidate((("x.pem", issued.chain_pem + issued.key_pem),))
        receipt = await trio.to_thread.run_sync(imported, tmp_path, candidate)
        assert receipt.state is State.CONFIRMED
        async with Client.to(port) as client:
            assert client.fingerprint == issued.bundle().fingerprint


async def test_who_asked_for_a_reload_that_fails_at_its_exec_is_told_so(
    tmp_path, executed, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(reload_command, "_PATIENCE_S", 1.0)
    async with proxy(tmp_path):
        code = await trio.to_thread.run_sync(main, ["reload", "--store", str(tmp_path / "store")])
    assert code == 1
    assert "could not be executed" in capsys.readouterr().err
    assert executed.states


async def test_a_reload_for_which_no_descriptor_is_left_is_refused_and_harms_nobody(
    tmp_path, executed, log, monkeypatch
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    async with proxy(tmp_path) as port:
        with monkeypatch.context() as patched:
            patched.setattr(os, "memfd_create", none_left)
            signal.raise_signal(signal.SIGHUP)
            assert "Too many open files" in (await log.wait("reload_refused"))["why"]
        async with Client.to(port):
            assert not executed.states


async def test_hang_ups_that_come_during_a_reload_ask_for_one_more(
    tmp_path, executed, log, monkeypatch
) -> None:
    go = tmp_path / "go"
    flights: list[None] = []

    def command() -> list[str]:
        flights.append(None)
        return [
            sys.executable,
            "-c",
            f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)",
        ]

    async with proxy(tmp_path):
        monkeypatch.setattr(reload, "_command", command)
        for _ in range(5):
            signal.raise_signal(signal.SIGHUP)
            while not flights:  # noqa: ASYNC110
                await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked(0.05)
        go.touch()
        await log.wait("reload_refused", 2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(flights) == 2 * 2, "each has its pre-flight and its exec"
    assert len(executed.states) == 2


async def test_a_hang_up_while_it_starts_is_obeyed_once_it_serves(tmp_path, executed, log) -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(app.run, config_for(tmp_path), program=app.Program()))
            worker = await worker_of_ours()
            os.kill(worker, signal.SIGSTOP)
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked(0.1)
            os.kill(worker, signal.SIGCONT)
            await log.wait("serving")
            await log.wait("reload_refused")
            assert executed.states[0].control_fd >= 0
            nursery.cancel_scope.cancel()


async def worker_of_ours() -> int:
    """Wait for a worker process that is a child of ours."""
    while not (found := [pid for pid in children() if "workers.process" in command_of(pid)]):  # noqa: ASYNC110
        await trio.sleep(0.01)
    return found[0]


def children() -> list[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return [int(pid) for one in lists for pid in one.read_text().split()]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def test_a_signal_that_comes_just_before_the_exec_is_obeyed_instead(
    tmp_path, executed, log, monkeypatch
) -> None:
    close, late = Gate.closed, [signal.SIGTERM, signal.SIGHUP]

    def close_late(gate: Gate) -> object:
        let_in()
        while late:
            signal.raise_signal(late.pop())  # as if it had come while the loop waited last
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        return close(gate)

    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(app.run, config_for(tmp_path), program=app.Program()))
            monkeypatch.setattr(Gate, "closed", close_late)
            signal.raise_signal(signal.SIGHUP)
    assert log.of("stopped")
    assert not executed.states


async def test_changes_that_wait_for_the_store_do_not_keep_a_reload_from_bringing_it_to_rest(
    tmp_path, pki, executed
) -> None:
    """All threads there may be (one, here) are taken by a change that waits for the reload."""
    async with reloader(tmp_path) as (scene, subject):
        trio.to_thread.current_default_thread_limiter().total_tokens = 1
        proposal = partial(
            scene.store.propose, pki.leaf().bundle(), source=Source.CUSTOMER, via="t", examiner=InProcess()
        )
        async with trio.open_nursery() as nursery:
            with scene.store.at_rest():
                nursery.start_soon(refused, subject)
                await trio.testing.wait_all_tasks_blocked(0.05)
                nursery.start_soon(trio.to_thread.run_sync, proposal)
                await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(executed.states) == 1
        assert scene.store.active is not None


async def refused(subject: reload.Reloader) -> None:
    with pytest.raises(ReloadError):
        await subject.execute()


async def test_every_worker_that_is_not_reaped_is_handed_over(tmp_path, executed) -> None:
    """One that is condemned and hangs, too: nobody else could wait for it."""
    async with reloader(tmp_path) as (scene, subject):
        (worker,) = scene.crew.workers
        os.kill(worker.pid, signal.SIGSTOP)
        worker.leave(Stage.GONE)
        await refused(subject)
        handed = {state.pid: state for state in executed.states[0].workers}
        assert handed[worker.pid].stage == Stage.GONE
        assert all(state.channel_fd >= 0 for state in handed.values())
