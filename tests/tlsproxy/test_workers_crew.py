"""A crew of real worker processes: complete, replaced when they die, and moved together."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import Bundle, Generation, InProcess, Source, Store
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
from tlsproxy.workers.remote import RemoteWorker, Stage


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


async def test_a_worker_that_cannot_follow_a_commit_is_replaced_by_one_that_can(tmp_path, pki) -> None:
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


async def test_no_worker_holds_the_lock_of_the_store_nor_another_workers_channel(tmp_path) -> None:
    async with scene_of(tmp_path, 2) as scene:
        lock = str(scene.config.store / "lock")
        one, other = (held_by(worker.pid) for worker in scene.crew.workers)
        assert lock not in one | other
        ours = [sock for door in scene.doors.doors for group in door.groups for sock in group]
        listening = {f"socket:[{os.fstat(sock.fileno()).st_ino}]" for sock in ours}
        assert {held for held in one & other if held.startswith("socket:")} == listening
