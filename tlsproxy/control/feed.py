"""Events over a WebSocket: each once, in order, from where a follower left off; or how many it has missed.

The first message is `{"kind": "stream", "stream", "oldest", "newest"}`: which stream this is, and which
numbers can be had. `?after=N` gives all after N first; with `&stream=NAME` also whether N was of this stream.
Where some are gone a message `{"kind": "lost", "stream", "after", "count"}` comes in their place; `count` is
null where nobody can say how many (another stream: the proxy was restarted).

Theory. A follower has no buffer of ours: it reads the log at its own place (observe/events.py). One that
doesn't read makes our send wait; where the log has gone on without it meanwhile, it is closed with 4008, and
where it reads nothing for `CONTROL_SEND_S`, cut (connection.py). Either way its last number brings it back to
where it was, as long as the log has that.
"""

from __future__ import annotations

import json
from contextlib import suppress

import trio
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from tlsproxy.control.operations import Answer, Ask, Operation, count, text
from tlsproxy.control.problems import problem
from tlsproxy.observe.events import EventLog

__all__ = ["OPERATIONS", "TOO_SLOW"]

# A private close code (RFC 6455 section 7.4.2) that ends like 408.
TOO_SLOW = 4008
_UNASKED = 1008  # policy violation: a follower has nothing to say
_AT_ONCE = 32


async def _follow(ask: Ask) -> None:
    websocket, log = ask.websocket, ask.backing.events
    await websocket.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_listen, websocket, nursery.cancel_scope)
        await _Follower(websocket, log).run(ask.query["after"], ask.query["stream"])
        nursery.cancel_scope.cancel()


async def _listen(websocket: WebSocket, following: trio.CancelScope) -> None:
    """Wait for the follower's end; whoever speaks is shown out."""
    try:
        await websocket.receive_text()
        await websocket.close(_UNASKED, "followers have nothing to say")
    except (WebSocketDisconnect, KeyError):
        pass
    following.cancel()


class _Follower:
    def __init__(self, websocket: WebSocket, log: EventLog) -> None:
        self._websocket, self._log = websocket, log
        self._news = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def run(self, after: int | None, stream: str | None) -> None:
        """Tell events for ever; returns where the follower was too slow."""
        log = self._log
        unsubscribe = log.subscribe(self._wake_soon)
        try:
            place = await self._begin(after, stream)
            while True:
                self._news = trio.Event()
                found = log.after(place, _AT_ONCE)
                if found.lost:
                    await self._websocket.close(TOO_SLOW, f"too slow: come back with after={place}")
                    return
                for event in found.events:
                    await self._websocket.send_text(json.dumps(event.to_json(log.stream)))
                    place = event.number
                if not found.events:
                    await self._news.wait()
        finally:
            unsubscribe()

    def _wake_soon(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake, idempotent=True)

    async def _begin(self, after: int | None, stream: str | None) -> int:
        """Say which stream this is, and give the number to go on from."""
        log = self._log
        await self._tell({"kind": "stream", "oldest": log.oldest, "newest": log.newest})
        if after is None:
            return log.newest
        if after > log.newest or (stream is not None and stream != log.stream):
            await self._tell({"kind": "lost", "after": after, "count": None})
            return log.oldest - 1
        if lost := log.after(after, 0).lost:
            await self._tell({"kind": "lost", "after": after, "count": lost})
        return after + lost

    async def _tell(self, message: dict[str, object]) -> None:
        await self._websocket.send_text(json.dumps({"stream": self._log.stream, **message}))

    def _wake(self) -> None:
        self._news.set()


async def _only_websockets(_ask: Ask) -> Response:
    headers = {"upgrade": "websocket", "connection": "upgrade"}
    return problem(426, "upgrade_required", "events are told over a WebSocket (RFC 6455)", headers=headers)


OPERATIONS = (
    Operation(
        "GET",
        "/v1/events",
        "followEvents",
        "Follow events over a WebSocket: receipts, findings, workers, generations, reloads.",
        _only_websockets,
        (Answer("A WebSocket begins; each message is an event in JSON (docs/control-api.md).", status=101),),
        (
            count("after", "Tell first what came after this number.", least=0, most=10**15, default=None),
            text("stream", "Of which stream that number is.", "[0-9a-f]{16}"),
        ),
        problems=(426,),
        follow=_follow,
    ),
)
