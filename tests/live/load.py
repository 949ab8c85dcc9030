"""Clients that keep a proxy busy and notice everything: each raises at the first thing that is wrong."""

from __future__ import annotations

import hashlib
import itertools
import ssl
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import trio
import trio_websocket

from tests.live.https_client import Client, trusting_nobody
from tests.live.peers import DOWNLOAD, DOWNLOAD_SHA256


@dataclass
class Load:
    """What the clients have seen; any fault ends the test at once by its exception."""

    requests: int = 0
    reconnects: int = 0  # after an answer that said close
    messages: int = 0
    events: int = 0
    downloaded: int = 0
    handshakes: list[tuple[float, str]] = field(
        default_factory=list
    )  # when begun (UNIX time), fingerprint seen
    ending: bool = False

    @property
    def counts(self) -> tuple[int, ...]:
        return self.requests, self.messages, self.events, len(self.handshakes)


async def keep_asking(port: int, load: Load, name: int, address: str = "127.0.0.1") -> None:
    numbers = itertools.count()
    while not load.ending:
        async with Client.to(port, address=address) as client:
            while not load.ending:
                number = next(numbers)
                answer = await client.get(f"/client/{name}?n={number}")
                assert answer.status == 200
                assert answer.body == b'{"path":"/client/%d","query":"n=%d"}' % (name, number)
                load.requests += 1
                if answer.headers.get(b"connection") == b"close":
                    load.reconnects += 1
                    break
                await trio.sleep(0.02)


async def keep_talking(port: int, load: Load, name: int, address: str = "127.0.0.1") -> None:
    async with trio_websocket.open_websocket(
        address, port, f"/ws/{name}", use_ssl=trusting_nobody()
    ) as socket:
        for number in itertools.count():
            if load.ending:
                break
            message = f"{name}:{number}:" + "x" * (number % 2000)
            await socket.send_message(message)
            assert await socket.get_message() == message
            load.messages += 1
            await trio.sleep(0.02)


async def keep_following(port: int, load: Load) -> None:
    async with Client.to(port) as client:
        await client.start("/events")
        text, expected = b"", 0
        async with aclosing(client.parts()) as parts:
            async for part in parts:
                *whole, text = (text + part).split(b"\n\n")
                for event in whole:
                    assert event == b"data: %d" % expected
                    expected += 1
                    load.events += 1
                if load.ending:
                    break


async def download_slowly(port: int, load: Load, share_done: Callable[[], float]) -> None:
    """Take 50 MB in step with something else (how much of it is done, 0 to 1), so that it lasts as long."""
    digest = hashlib.sha256()

    def is_ahead() -> bool:
        return load.downloaded / len(DOWNLOAD) > share_done()

    async with Client.to(port) as client:
        await client.start("/download")
        async for part in client.parts():
            digest.update(part)
            load.downloaded += len(part)
            while not load.ending and is_ahead():  # noqa: ASYNC110  a slow reader is what this is
                await trio.sleep(0.01)
    assert digest.hexdigest() == DOWNLOAD_SHA256


async def keep_shaking_hands(port: int, load: Load) -> None:
    versions = itertools.cycle([ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    while not load.ending:
        context = trusting_nobody()
        context.maximum_version = next(versions)
        begun = time.time()
        async with Client.to(port, context=context) as client:
            load.handshakes.append((begun, client.fingerprint))
