"""A whole proxy in this process, workers and all, whose clock and disk a test may disturb."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from certstore import Bundle, Receipt, Source, read_bundle
from tests.live.https_client import Client as HttpsClient
from tests.live.peers import http_service
from tests.storing import candidate_of
from tlsproxy import app
from tlsproxy.config.arguments import from_arguments
from tlsproxy.control.client import Client

T = TypeVar("T")


class JumpingClock:
    """The time, off by what the test says; counts how often it was asked."""

    def __init__(self) -> None:
        self.off, self.asked = timedelta(0), 0

    def __call__(self) -> datetime:
        self.asked += 1
        return datetime.now(UTC) + self.off


class Scene:
    """A proxy in this process, one connection that was made at its start, and who asks the proxy."""

    def __init__(self, clock: JumpingClock, port: int, control: Path, first: HttpsClient) -> None:
        self.clock, self.port, self.control, self.first = clock, port, control, first

    async def jump(self, by: timedelta) -> None:
        """Set the clock, and let the caretaker have some turns with it."""
        self.clock.off = by
        asked = self.clock.asked
        while self.clock.asked < asked + 60:  # noqa: ASYNC110  threads ask it, which no event hears of
            await trio.sleep(0.02)

    async def ask(self, question: Callable[[Client], T]) -> T:
        def ask() -> T:
            with Client(self.control) as client:
                return question(client)

        return await trio.to_thread.run_sync(ask)

    async def propose(self, issued: Any) -> Receipt:
        return await self.ask(lambda client: client.propose(candidate_of(issued), "test"))

    async def served(self) -> str:
        """Ask over the first connection, and over a new one; gives what that is served."""
        assert (await self.first.get("/")).status == 200
        async with HttpsClient.to(self.port) as client:
            assert (await client.get("/")).status == 200
            return client.fingerprint

    @asynccontextmanager
    async def anew(self) -> AsyncIterator[HttpsClient]:
        """Connect once more."""
        async with HttpsClient.to(self.port) as client:
            yield client

    async def own(self) -> Bundle:
        slots = await self.ask(lambda client: client.slots())
        (own,) = [slot for slot in slots if slot.source is Source.GENERATED][:1]
        return read_bundle(self.control.parents[1], own.bundle)


@asynccontextmanager
async def scene(folder: Path, clock: JumpingClock) -> AsyncIterator[Scene]:
    async with http_service() as upstream, trio.open_nursery() as running:
        config = from_arguments(["127.0.0.1:0"], [f"http://127.0.0.1:{upstream}"], folder / "store")
        (listener,) = await running.start(partial(app.run, config))
        async with HttpsClient.to(listener.port) as first:
            yield Scene(clock, listener.port, config.control_socket, first)
        running.cancel_scope.cancel()
