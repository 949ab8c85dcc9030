"""Every worker staples what it was told, also one that is born later, and no longer than it holds."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from certstore import Bundle, InProcess, Source, Store
from tests.responding import Responder
from tlsproxy.config.arguments import from_arguments
from tlsproxy.config.values import ChecksConfig, TLSConfig
from tlsproxy.listening import Doors
from tlsproxy.tls.engines.probe import Version
from tlsproxy.tls.engines.visitor import Visitor
from tlsproxy.workers.birth import Birth
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.publishing import Publishing
from tlsproxy.workers.remote import RemoteWorker, Stage
from tlsproxy.workers.stapling import Stapling

WORKERS = 2
LOOKS = 16  # the kernel gives each worker one of them, but for one time in 30,000
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


async def staple_at(port: int) -> bytes:
    visitor, stream = Visitor(Version.TLS13, "device.test"), await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        while not visitor.handshake():
            if waiting := visitor.take():
                await stream.send_all(waiting)
            visitor.feed(await stream.receive_some())
        return b"".join(visitor._staples)


async def all_staple(port: int, wanted: bytes) -> None:
    """Wait until each worker shows it; who keeps showing another one meets the deadline."""
    while {await staple_at(port) for _ in range(LOOKS)} != {wanted}:
        pass


@asynccontextmanager
async def scene_of(
    folder: Path, bundle: Bundle, clock: Callable[[], datetime]
) -> AsyncIterator[tuple[Stapling, Crew, int]]:
    config = from_arguments(["127.0.0.1:0"], ["http://127.0.0.1:9"], folder / "store")
    config = replace(
        config, workers=WORKERS, tls=TLSConfig(engine="bundled"), checks=ChecksConfig(revocation=True)
    )
    doors, memory = Doors.open(config.listeners, WORKERS), Memory()
    stapling = Stapling(clock, lambda: crew.workers)
    crew = Crew(Birth(config, doors, memory, WORKERS, staples=stapling.pending))
    publishing = Publishing(crew, memory, InProcess())
    try:
        with Store.open(config.store, clock=now, publisher=publishing) as store, trio.fail_after(60):
            publishing.load_from(store.bundle)
            async with trio.open_nursery() as nursery:
                await nursery.start(crew.run)

                def propose() -> None:
                    store.propose(bundle, source=Source.CUSTOMER, via="test", examiner=InProcess())

                await trio.to_thread.run_sync(propose)
                crew.open()
                yield stapling, crew, doors.doors[0].port
                nursery.cancel_scope.cancel()
    finally:
        doors.close()
        memory.close()


async def accepting(crew: Crew) -> list[RemoteWorker]:
    while len(found := [w for w in crew.workers if w.stage is Stage.ACCEPTING]) != WORKERS:  # noqa: ASYNC110
        await trio.sleep(0.01)
    return found


async def test_each_worker_staples_what_it_is_told_and_one_that_comes_later_too(tmp_path, pki):
    bundle = pki.leaf().bundle()
    first, second = (Responder(pki, by_name=by_name).answer(bundle.leaf) for by_name in (True, False))
    async with scene_of(tmp_path, bundle, now) as (stapling, crew, port):
        await all_staple(port, b"")
        stapling.publish({bundle.id: (first, now() + HOUR)})
        await all_staple(port, first)
        killed, _ = await accepting(crew)
        os.kill(killed.pid, signal.SIGKILL)
        await killed.ended.wait()
        await accepting(crew)
        await all_staple(port, first)
        stapling.publish({bundle.id: (second, now() + HOUR)})
        await all_staple(port, second)
        stapling.publish({})
        await all_staple(port, b"")


async def test_a_staple_goes_by_itself_at_its_end(tmp_path, pki):
    bundle = pki.leaf().bundle()
    lasting, short = (Responder(pki, by_name=by_name).answer(bundle.leaf) for by_name in (True, False))
    async with scene_of(tmp_path, bundle, now) as (stapling, _, port):
        stapling.publish({bundle.id: (lasting, now() + HOUR)})
        await all_staple(port, lasting)
        stapling.publish({bundle.id: (short, now() + timedelta(seconds=0.5))})
        await all_staple(port, b"")


def test_who_is_born_is_told_what_still_holds_only_and_not_too_much(pki, monkeypatch):
    at = datetime(2026, 11, 27, tzinfo=UTC)
    stapling = Stapling(lambda: at, tuple)
    stapling.publish({"a": (b"A", at + HOUR), "b": (b"B", at), "c": (b"C", at + 2 * HOUR)})
    assert [(one.bundle, one.holds_s) for one in stapling.pending().staples] == [("a", 3600.0), ("c", 7200.0)]
    monkeypatch.setattr("tlsproxy.policy_revocation.WATCHED", 1)
    assert [one.bundle for one in stapling.pending().staples] == ["a"]
