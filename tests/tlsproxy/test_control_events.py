"""Events as followers get them: over a real WebSocket on the real socket, by the real client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from tests.controlling import DEADLINE_S, Api, control_api
from tests.pki import Pki
from tests.storing import candidate_of
from tlsproxy import policy
from tlsproxy.control.feed import TOO_SLOW
from tlsproxy.control.follower import Follower
from tlsproxy.errors import ControlError, NotRunningError
from tlsproxy.observe.events import EVENTS_KEPT


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


@asynccontextmanager
async def following(api: Api, query: str = "", buffer: int = 1) -> AsyncIterator[WebSocketConnection]:
    with trio.fail_after(DEADLINE_S):
        async with await api.connect() as stream, trio.open_nursery() as nursery:
            target = f"/v1/events{query}"
            yield await wrap_client_stream(nursery, stream, "x", target, message_queue_size=buffer)
            nursery.cancel_scope.cancel()


async def messages(websocket: WebSocketConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await websocket.get_message()) for _ in range(count)]


def add(api: Api, count: int, **facts: object) -> None:
    for n in range(count):
        api.events.add("worker", {"n": n, **facts})


async def test_a_follower_is_told_which_stream_this_is_then_what_is_new(api: Api) -> None:
    add(api, 2)
    async with following(api) as websocket:
        (first,) = await messages(websocket, 1)
        assert first == {"stream": api.events.stream, "kind": "stream", "oldest": 1, "newest": 2}
        add(api, 1)
        (event,) = await messages(websocket, 1)
        assert (event["number"], event["kind"], event["n"]) == (3, "worker", 0)


async def test_who_comes_back_with_a_number_gets_each_event_once_and_in_order(api: Api) -> None:
    add(api, 50)
    async with following(api, f"?after=10&stream={api.events.stream}") as websocket:
        add(api, 50)
        _, *events = await messages(websocket, 91)
        assert [event["number"] for event in events] == list(range(11, 101))


async def test_what_is_not_kept_any_more_is_told_as_lost(api: Api) -> None:
    add(api, EVENTS_KEPT + 7)
    async with following(api, "?after=3") as websocket:
        _, lost, event = await messages(websocket, 3)
        assert lost == {"stream": api.events.stream, "kind": "lost", "after": 3, "count": 4}
        assert event["number"] == 8


@pytest.mark.parametrize("query", ["?after=99", "?after=1&stream=0123456789abcdef"])
async def test_a_number_of_another_stream_is_told_and_all_that_is_kept_follows(api: Api, query: str) -> None:
    add(api, 2)
    async with following(api, query) as websocket:
        _, lost, first, second = await messages(websocket, 4)
        assert (lost["kind"], lost["count"]) == ("lost", None)
        assert [first["number"], second["number"]] == [1, 2]


async def test_a_receipt_is_an_event_with_all_that_the_api_shows(api: Api, pki: Pki) -> None:
    async with following(api) as websocket:
        receipt = await api.client(lambda client: client.propose(candidate_of(pki.leaf()), "cli"))
        _, event = await messages(websocket, 2)
        assert event["kind"] == "receipt"
        assert receipt.to_json().items() <= event.items()


async def test_who_does_not_read_is_closed_with_a_code_and_can_come_back(api: Api) -> None:
    words = "x" * 3_000
    async with following(api, "?after=0") as websocket:
        for _ in range(3 * EVENTS_KEPT):
            add(api, 1, words=words)
            await trio.lowlevel.checkpoint()
        numbers = [message["number"] async for message in all_messages(websocket) if "number" in message]
        assert websocket.closed is not None
        assert websocket.closed.code == TOO_SLOW
        assert websocket.closed.reason == f"too slow: come back with after={numbers[-1]}"
    assert numbers == list(range(1, len(numbers) + 1))
    async with following(api, f"?after={numbers[-1]}") as websocket:
        _, lost = await messages(websocket, 2)
        assert (lost["kind"], lost["after"]) == ("lost", numbers[-1])


async def all_messages(websocket: WebSocketConnection) -> AsyncIterator[dict[str, Any]]:
    with suppress(ConnectionClosed):
        while True:
            yield json.loads(await websocket.get_message())


HANDSHAKE = (
    b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PONG = b"\x8a\x80\0\0\0\0"  # unasked, which is allowed


async def test_who_never_reads_is_cut(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "CONTROL_SEND_S", 0.05)
    add(api, EVENTS_KEPT, words="x" * 3_000)
    with trio.fail_after(DEADLINE_S), suppress(trio.BrokenResourceError):
        async with await api.connect() as stream:
            await stream.send_all(HANDSHAKE)
            assert (await stream.receive_some(12)).startswith(b"HTTP/1.1 101")
            while True:
                await stream.send_all(PONG)
                await trio.lowlevel.checkpoint()


async def test_who_speaks_before_the_handshake_is_over_harms_only_itself(api: Api) -> None:
    for _ in range(10):
        async with await api.connect() as stream:
            await stream.send_all(HANDSHAKE + PONG)
            with trio.fail_after(DEADLINE_S), suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
    assert (await api.ask("GET", "/v1/health/live")).status_code == 200


async def test_a_follower_that_speaks_is_shown_out_and_one_that_pings_is_answered(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(api) as websocket:
        await websocket.ping(b"there?")
        await websocket.send_message("hello")
        with pytest.raises(ConnectionClosed):
            await messages(websocket, 2)
        assert websocket.closed is not None
        assert websocket.closed.code == 1008


@pytest.mark.parametrize(("query", "status"), [("?after=x", 422), ("?afetr=1", 422), ("?stream=1", 422)])
async def test_a_follower_with_wrong_parameters_is_refused_before_anything_begins(
    api: Api, query: str, status: int
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with following(api, query):
            pass
    ((rejected,),) = [caught.value.split(ConnectionRejected)[0].exceptions]  # type: ignore[union-attr]
    while isinstance(rejected, ExceptionGroup):
        (rejected,) = rejected.exceptions
    assert isinstance(rejected, ConnectionRejected)
    assert rejected.status_code == status
    assert json.loads(rejected.body or b"")["status"] == status


async def test_who_asks_without_a_websocket_is_told_to(api: Api) -> None:
    answer = await api.ask("GET", "/v1/events")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.json()["code"] == "upgrade_required"


async def test_no_compression_is_agreed_upon(api: Api) -> None:
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-extensions": "permessage-deflate",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    async with await api.connect() as stream:
        await stream.send_all(f"GET /v1/events HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        got = await stream.receive_some()
    assert got.startswith(b"HTTP/1.1 101")
    assert b"extensions" not in got.lower()


# --- the asking side


async def followed(follower: Follower, told: list[dict[str, object]], count: int) -> None:
    """Follow until so many messages were told."""
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.run)
            while len(told) < count:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_the_client_tells_each_event_once_over_connections_that_end(tmp_path: Path) -> None:
    told: list[dict[str, object]] = []
    async with control_api(tmp_path) as api:
        add(api, 3)
        await followed(follower := Follower(api.path, told.append, after=1), told, 2)
        add(api, 2)
        await followed(follower, told, 4)
        assert [one["number"] for one in told] == [2, 3, 4, 5]
    async with control_api(tmp_path) as api:  # a restart: another stream
        add(api, 1)
        await followed(follower, told, 6)
        assert [(one["kind"], one.get("number")) for one in told[4:]] == [("lost", None), ("worker", 1)]


async def test_the_client_gives_up_where_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError), trio.fail_after(DEADLINE_S):
        await Follower(tmp_path / "absent.sock", print).run()


async def test_the_client_says_why_it_may_not_follow(api: Api) -> None:
    with pytest.raises(ControlError, match="stream: it doesn't fit"), trio.fail_after(DEADLINE_S):
        await Follower(api.path, print, stream="x").run()
