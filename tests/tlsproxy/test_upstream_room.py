"""No more connections to an upstream than it can bear: who finds no place waits a little, in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import trio
import trio.testing

from tests.forwarding import GET, OK, Handler, Peer, Rig, forwarding
from tlsproxy.errors import UpstreamBusyError
from tlsproxy.forward.site import SocketUpstream
from tlsproxy.upstream.guard import Guards
from tlsproxy.upstream.room import Room

POST = b"POST / HTTP/1.1\r\nHost: device.test\r\nContent-Length: 2\r\n\r\nhi"
UPGRADE = b"GET / HTTP/1.1\r\nHost: device.test\r\nConnection: Upgrade\r\nUpgrade: shell\r\n\r\n"


@dataclass
class Service:
    """An upstream that answers when it is told to, and counts who is connected."""

    open: int = 0
    most: int = 0
    asked: list[bytes] = field(default_factory=list)
    go: trio.Event = field(default_factory=trio.Event)

    async def serve(self, peer: Peer) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            while True:
                head = await peer.head()
                if b"Content-Length: 2" in head:
                    await peer.exactly(2)
                self.asked.append(head)
                await self.go.wait()
                if b"upgrade" in head.lower():
                    await peer.send(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shell\r\n\r\n"
                    )
                    await peer.everything()
                    return
                await peer.send(OK)
        finally:
            self.open -= 1


@asynccontextmanager
async def roomy(places: int, patience_s: float = 60.0) -> AsyncIterator[tuple[Rig, Service, Room]]:
    service = Service()
    handler: Handler = service.serve
    async with forwarding(handler) as rig:
        room = Room("/", places, patience_s, lambda: 0.0)
        upstream: SocketUpstream = rig.site.upstreams["/"]
        upstream.room = room
        rig.site = replace(rig.site, guards=Guards({}, trio.current_time))
        yield rig, service, room
        await rig.settle()


async def clients_of(rig: Rig, count: int, request: bytes = GET) -> list[Peer]:
    clients = [await rig.connect() for _ in range(count)]
    for client in clients:
        await client.send(request)
    return clients


async def test_a_dozen_requests_share_three_connections_and_all_are_answered():
    async with roomy(3) as (rig, service, room):
        clients = await clients_of(rig, 12)
        await rig.settle()
        assert (len(service.asked), service.open, room.taken) == (3, 3, 3)
        service.go.set()
        assert [(await client.answer()).status for client in clients] == [200] * 12
        await rig.settle()
        assert (service.most, room.taken) == (3, 0)


async def test_who_waits_too_long_is_told_to_come_again_and_keeps_the_connection():
    async with roomy(1, patience_s=0.01) as (rig, service, room):
        (first,) = await clients_of(rig, 1)
        await rig.settle()
        second = await rig.connect()
        answer = await second.ask()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert b'"upstream_busy"' in answer.body
        assert "connection" not in answer.headers
        assert (await second.ask(POST, b"POST")).status == 503
        service.go.set()
        assert (await first.answer()).status == 200
        await rig.settle()
        assert (await second.ask()).status == 200
        assert room.taken == 0


async def test_a_tunnel_holds_its_place_to_its_end():
    async with roomy(1) as (rig, service, room):
        service.go.set()
        (tunnel,) = await clients_of(rig, 1, UPGRADE)
        assert (await tunnel.answer(body=False)).status == 101
        (waiter,) = await clients_of(rig, 1)
        await rig.settle()
        assert (len(service.asked), room.taken) == (1, 1)
        tunnel.close()
        assert (await waiter.answer()).status == 200
        assert service.most == 1


async def test_a_client_that_leaves_while_it_waits_is_not_passed_on():
    async with roomy(1) as (rig, service, room):
        (first,) = await clients_of(rig, 1)
        await rig.settle()
        (leaver,) = await clients_of(rig, 1, GET.replace(b"GET / ", b"GET /leaver "))
        await rig.settle()
        (last,) = await clients_of(rig, 1, GET.replace(b"GET / ", b"GET /last "))
        await rig.settle()
        leaver.close()
        await rig.sweep_later(0)
        service.go.set()
        assert [(await client.answer()).status for client in (first, last)] == [200, 200]
        await rig.settle()
        assert [head.split()[1] for head in service.asked] == [b"/", b"/last"]
        assert [one.code for one in rig.records if one.code] == ["client_gone"]
        assert room.taken == 0


async def test_an_idle_connection_is_closed_before_one_too_many_is_opened():
    async with roomy(1) as (rig, service, _):
        service.go.set()
        client = await rig.connect()
        assert (await client.ask()).status == 200
        await rig.sweep_later(2)  # kept, and too old for what can't be sent twice
        assert service.open == 1
        assert (await client.ask(POST, b"POST")).status == 200
        await rig.settle()
        assert (len(rig.accepted), service.open) == (2, 1)


async def test_an_upstream_that_cannot_be_reached_gives_its_place_back():
    async with roomy(1) as (rig, _, room):
        rig.site.upstreams["/"]._dial = refuse  # type: ignore[assignment]  # the shortest way to nobody
        client = await rig.connect()
        assert [(await client.ask()).status for _ in range(3)] == [502] * 3
        await rig.settle()
        assert room.taken == 0


async def refuse() -> None:
    raise ConnectionRefusedError


async def test_places_are_given_in_the_order_in_which_they_were_asked_for():
    room, order = Room("u", 1, 60.0, lambda: 0.0), []

    async def visit(number: int) -> None:
        await room.enter()
        order.append(number)
        room.leave()

    await room.enter()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(visit, number)
            await trio.testing.wait_all_tasks_blocked()
        room.leave()
    assert order == [0, 1, 2, 3, 4]
    assert room.taken == 0


async def test_who_is_cancelled_or_late_takes_no_place():
    room = Room("u", 2, 0.01, lambda: 1.0)
    await room.enter()
    await room.enter()
    with pytest.raises(UpstreamBusyError) as caught:
        await room.enter()
    assert (caught.value.retry_s, caught.value.status) == (1, 503)
    with trio.move_on_after(0) as at_once:
        await room.enter()
    assert at_once.cancelled_caught
    assert room.taken == 2
