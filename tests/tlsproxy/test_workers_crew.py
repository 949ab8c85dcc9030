"""A crew of real worker processes: complete, replaced when they die, and moved together."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import structlog
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import Bundle, Generation, InProcess, Source, Store
from tests.confining import only_root_looks_in
from tests.live.workers import is_alive
from tests.pki import Issued
from tests.tlsproxy.tls_wire import Wire
from tlsproxy import policy
from tlsproxy.app import now
from tlsproxy.config import Config
from tlsproxy.config.arguments import from_arguments
from tlsproxy.errors import WorkerError
from tlsproxy.listening import Doors
from tlsproxy.workers import birth as birth_room
from tlsproxy.workers.birth import Birth
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.publishing import Publishing, published
from tlsproxy.workers.remote import Place, Publication, RemoteWorker, Stage


@dataclass
class Scene:
    """A crew before a store; `publishing` joins them."""

    config: Config
    crew: Crew
    publishing: Publishing
    memory: Memory
    store: Store
    doors: Doors

    async def serve(self, bundle: Bundle) -> Generation:
        def propose() -> None:
            receipt = self.store.propose(bundle, source=Source.CUSTOMER, via="test", examiner=InProcess())
            assert receipt.live_at is not None, receipt

        await trio.to_thread.run_sync(propose)
        assert self.store.active is not None
        return self.store.active

    async def shown(self) -> bytes | None:
        """Give the certificate that a new connection is shown."""
        client = Wire(await trio.open_tcp_stream("127.0.0.1", self.doors.doors[0].port))
        try:
            await client.shake_hands()
            return client.tls.getpeercert(binary_form=True)
        finally:
            await client.stream.aclose()

    async def wait_stage(self, count: int, stage: Stage) -> list[RemoteWorker]:
        while len(found := [w for w in self.crew.workers if w.stage is stage]) != count:  # noqa: ASYNC110
            await trio.sleep(0.01)
        return found


def held_by(pid: int) -> set[str]:
    """Give what a process has open."""
    return {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}  # noqa: PTH115  no path


def count_open() -> int:
    """Count our own descriptors."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def der_of(issued: Issued) -> bytes:
    return issued.certificate.public_bytes(Encoding.DER)


@asynccontextmanager
async def scene_of(folder: Path, workers: int) -> AsyncIterator[Scene]:
    config = replace(
        from_arguments(["127.0.0.1:0"], ["http://127.0.0.1:9"], folder / "store"), workers=workers
    )
    doors, memory = Doors.open(config.listeners, workers), Memory()
    crew = Crew(Birth(config, doors, memory, workers))
    publishing = Publishing(crew, memory, InProcess())
    try:
        with Store.open(config.store, clock=now, publisher=publishing) as store, trio.fail_after(60):
            publishing.load_from(store.bundle)
            async with trio.open_nursery() as nursery:
                await nursery.start(crew.run)
                yield Scene(config, crew, publishing, memory, store, doors)
                nursery.cancel_scope.cancel()
    finally:
        doors.close()
        memory.close()


async def test_what_is_committed_is_shown_by_every_worker(tmp_path, pki) -> None:
    async with scene_of(tmp_path, 2) as scene:
        scene.crew.open()
        for issued in (pki.leaf(), pki.leaf(key="rsa")):
            await scene.serve(issued.bundle())
            shown = {await scene.shown() for _ in range(16)}
            assert shown == {der_of(issued)}


async def test_a_generation_that_a_worker_cannot_build_is_refused_and_harms_nobody(tmp_path, pki) -> None:
    async with scene_of(tmp_path, 2) as scene:
        scene.crew.open()
        good = pki.leaf()
        generation = await scene.serve(good.bundle())
        bad = replace(generation, number=generation.number + 1, default="0" * 64)
        with pytest.raises(WorkerError):
            await scene.crew.prepare(published(bad))
        assert scene.crew.current == published(generation)
        assert await scene.shown() == der_of(good)
        assert all(worker.stage is Stage.ACCEPTING for worker in scene.crew.workers)


async def test_a_worker_that_dies_over_its_preparing_refuses_nothing_and_is_replaced(tmp_path, pki) -> None:
    async with scene_of(tmp_path, 2) as scene:
        scene.crew.open()
        first, second = pki.leaf(), pki.leaf()
        await scene.serve(first.bundle())
        stuck, other = await scene.wait_stage(2, Stage.ACCEPTING)
        os.kill(stuck.pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.serve, second.bundle())
            while other.published is None or other.published.number == 1:
                if scene.crew.workers and stuck._answers:
                    os.kill(stuck.pid, signal.SIGKILL)
                await trio.sleep(0.01)
        await stuck.ended.wait()
        await scene.wait_stage(2, Stage.ACCEPTING)
        assert {await scene.shown() for _ in range(16)} == {der_of(second)}


async def test_a_worker_that_comes_late_serves_what_is_current(tmp_path, pki) -> None:
    async with scene_of(tmp_path, 2) as scene:
        scene.crew.open()
        issued = pki.leaf()
        await scene.serve(issued.bundle())
        one, _ = await scene.wait_stage(2, Stage.ACCEPTING)
        os.kill(one.pid, signal.SIGKILL)
        await one.ended.wait()
        newer = pki.leaf()
        await scene.serve(newer.bundle())
        await scene.wait_stage(2, Stage.ACCEPTING)
        assert {await scene.shown() for _ in range(16)} == {der_of(newer)}


async def test_a_crew_is_well_while_somebody_accepts_whose_loop_turns(tmp_path, pki) -> None:
    async with scene_of(tmp_path, 1) as scene:
        crew = scene.crew
        assert not crew.is_well, "nobody accepts yet"
        crew.open()
        await scene.serve(pki.leaf().bundle())
        (worker,) = await scene.wait_stage(1, Stage.ACCEPTING)
        assert crew.is_well
        worker.asked_at = trio.current_time() - policy.WORKER_STUCK_S
        assert not crew.is_well, "it owes an answer for too long"
        worker.asked_at = None
        crew.stop(0.0)
        assert crew.is_well, "it ends as it should"


async def test_a_certificate_that_lies_in_memory_is_served_without_a_store(tmp_path, pki) -> None:
    async with scene_of(tmp_path, 1) as scene:
        scene.crew.open()
        issued = pki.leaf()
        bundle = issued.bundle()
        fingerprint = await trio.to_thread.run_sync(scene.publishing.serve_in_memory, bundle)
        assert (fingerprint, scene.publishing.in_memory) == (bundle.fingerprint, True)
        assert await scene.shown() == der_of(issued)
        again = pki.leaf()
        await scene.serve(again.bundle())
        assert not scene.publishing.in_memory
        assert await scene.shown() == der_of(again)


async def test_workers_that_die_at_birth_are_an_error_at_the_first_start(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(birth_room, "MODULE", "tests.no_such_module")
    monkeypatch.setattr(policy, "WORKER_RETRY_S", (0.0,))
    with pytest.raises(ExceptionGroup) as caught:
        async with scene_of(tmp_path, 1):
            raise AssertionError("it must not start")
    assert caught.group_contains(WorkerError)


async def test_cancelling_a_crew_leaves_no_process_behind(tmp_path) -> None:
    async with scene_of(tmp_path, 2) as scene:
        pids = [worker.pid for worker in scene.crew.workers]
        assert all(map(is_alive, pids))
    for pid in pids:
        with pytest.raises(ProcessLookupError):  # not even a zombie
            os.kill(pid, 0)


@only_root_looks_in
async def test_no_worker_holds_the_lock_of_the_store_nor_another_workers_channel(tmp_path) -> None:
    async with scene_of(tmp_path, 2) as scene:
        lock = str(scene.config.store / "lock")
        one, other = (held_by(worker.pid) for worker in scene.crew.workers)
        assert lock not in one | other
        ours = [sock for door in scene.doors.doors for group in door.groups for sock in group]
        listening = {f"socket:[{os.fstat(sock.fileno()).st_ino}]" for sock in ours}
        assert {held for held in one & other if held.startswith("socket:")} == listening


async def test_workers_of_the_image_before_that_nobody_leads_on_are_ended(tmp_path) -> None:
    """One that a reload met at its birth, one that was condemned and hangs."""
    async with scene_of(tmp_path, 1) as scene:
        newborn, condemned = (scene.crew.birth.bear(Place(0, 0)) for _ in range(2))
        os.kill(condemned.pid, signal.SIGSTOP)
        condemned.leave(Stage.GONE)
        crew = Crew(scene.crew.birth, epoch=2)
        async with trio.open_nursery() as nursery:
            await nursery.start(crew.run, [newborn, condemned])
            await newborn.ended.wait()
            await condemned.ended.wait()
            assert [worker.epoch for worker in crew.workers] == [2]
            nursery.cancel_scope.cancel()


async def test_a_worker_that_cannot_be_watched_for_want_of_a_descriptor_is_not_born(
    tmp_path, monkeypatch
) -> None:
    async with scene_of(tmp_path, 1) as scene:
        before = count_open()
        born: list[int] = []

        def none_left(pid: int) -> int:
            born.append(pid)
            raise OSError(errno.EMFILE, "too many open files")

        with monkeypatch.context() as patched:
            patched.setattr(os, "pidfd_open", none_left)
            (worker,) = scene.crew.workers
            os.kill(worker.pid, signal.SIGKILL)
            while not born:  # noqa: ASYNC110
                await trio.sleep(0.01)
        (again,) = await scene.wait_stage(1, Stage.STANDBY)
        assert again.pid not in born
        assert not any(map(is_alive, born))
        assert count_open() == before


async def test_who_is_told_to_stop_once_more_after_the_end_takes_no_harm(tmp_path) -> None:
    async with scene_of(tmp_path, 1) as scene:
        crew = Crew(scene.crew.birth, epoch=2)
        async with trio.open_nursery() as nursery:
            await nursery.start(crew.run)
            crew.stop(5)
        assert not crew.workers
        crew.stop(0)


async def test_a_worker_that_was_still_starting_at_a_reload_is_not_kept(tmp_path) -> None:
    """The image before had started it; whether it has ever heard its first word nobody knows."""
    async with crew_after_a_reload(tmp_path, Stage.STARTING) as (crew, old), trio.open_nursery() as nursery:
        await nursery.start(crew.run, [old])
        await old.ended.wait()
        assert {worker.seat for worker in crew.workers} == {0}
        nursery.cancel_scope.cancel()


async def test_a_crew_told_to_stop_before_it_runs_drains_the_workers_of_the_image_before(tmp_path) -> None:
    async with crew_after_a_reload(tmp_path, Stage.ACCEPTING) as (crew, old):
        crew.stop(5)
        await crew.run([old])
        assert old.exit_code == 0


async def test_a_change_under_way_when_the_end_is_asked_for_is_not_refused_for_want_of_workers(
    tmp_path, pki
) -> None:
    async with scene_of(tmp_path, 1) as scene:
        (worker,) = scene.crew.workers
        os.kill(worker.pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.serve, pki.leaf().bundle())
            while not worker._answers:  # noqa: ASYNC110
                await trio.sleep(0.01)
            scene.crew.stop(5)
            os.kill(worker.pid, signal.SIGKILL)
        assert scene.store.active is not None


async def test_a_worker_that_cannot_commit_what_it_prepared_is_replaced_by_one_that_can(
    tmp_path, pki
) -> None:
    async with scene_of(tmp_path, 2) as scene:
        scene.crew.open()
        first, second = pki.leaf(), pki.leaf()
        await scene.serve(first.bundle())
        stuck, _ = await scene.wait_stage(2, Stage.ACCEPTING)
        prepare = scene.crew.prepare

        async def prepare_then_hang(publication: Publication) -> None:
            await prepare(publication)
            os.kill(stuck.pid, signal.SIGSTOP)

        scene.crew.prepare = prepare_then_hang  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.serve, second.bundle())
            while not any(kind == "Committed" for kind, _ in stuck._answers):  # noqa: ASYNC110
                await trio.sleep(0.01)
            os.kill(stuck.pid, signal.SIGKILL)
        await stuck.ended.wait()
        await scene.wait_stage(2, Stage.ACCEPTING)
        assert {await scene.shown() for _ in range(16)} == {der_of(second)}


async def test_a_worker_that_came_between_the_phases_of_what_it_serves_already_follows(tmp_path, pki) -> None:
    async with scene_of(tmp_path, 1) as scene:
        scene.crew.open()
        generation = await scene.serve(pki.leaf().bundle())
        (worker,) = scene.crew.workers
        await scene.crew.commit(published(generation))  # it was never asked to prepare it once more
        assert worker.stage is Stage.ACCEPTING


async def test_workers_that_hang_at_birth_are_an_error_at_the_first_start(tmp_path, monkeypatch) -> None:
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(birth_room, "MODULE", "hanging")
    monkeypatch.setattr(policy, "WORKER_RETRY_S", (0.0,))
    monkeypatch.setattr(policy, "WORKER_START_S", 0.2)
    monkeypatch.setattr(policy, "WORKER_INFANCY_S", 0.1)
    with trio.fail_after(20), pytest.raises(ExceptionGroup) as caught:
        async with scene_of(tmp_path, 1):
            raise AssertionError("it must not start")
    assert caught.group_contains(WorkerError)


async def test_while_old_workers_serve_new_ones_that_die_at_birth_are_tried_for_ever(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(policy, "WORKER_RETRY_S", (0.0,))
    async with scene_of(tmp_path, 1) as scene:
        old = scene.crew.birth.bear(Place(0, 1))
        old.leave(Stage.ACCEPTING)
        crew = Crew(scene.crew.birth, epoch=2)
        with structlog.testing.capture_logs() as log:
            async with trio.open_nursery() as nursery:
                with monkeypatch.context() as patched:
                    patched.setattr(birth_room, "MODULE", "tests.no_such_module")
                    nursery.start_soon(crew.run, [old])
                    while len(log) <= policy.WORKER_FIRST_TRIES:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                while not any(w.stage is Stage.STANDBY for w in crew.workers):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                assert is_alive(old.pid)
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def crew_after_a_reload(folder: Path, stage: Stage) -> AsyncIterator[tuple[Crew, RemoteWorker]]:
    """Make a crew of one seat that has not begun, and a worker of the image before, at some stage."""
    config = from_arguments(["127.0.0.1:0"], ["http://127.0.0.1:9"], folder / "store")
    doors, memory = Doors.open(config.listeners, 1), Memory()
    birth = Birth(config, doors, memory, 1)
    try:
        with trio.fail_after(60):
            old = birth.bear(Place(0, 1))
            old.leave(stage)
            yield Crew(birth, epoch=2), old
    finally:
        doors.close()
        memory.close()
