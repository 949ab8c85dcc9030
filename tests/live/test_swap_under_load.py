"""The main promise, on real sockets: certificates swapped under load, and nothing lost, altered or late."""

from __future__ import annotations

import hashlib
import itertools
import os
import ssl
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

import pytest
import trio
import trio_websocket

from tests.live.https_client import Client, trusting_nobody
from tests.live.peers import DOWNLOAD, DOWNLOAD_SHA256, http_service, websocket_service
from tests.live.proxy_process import Proxy, running, write_config

SWAPS = 200
CLIENTS = 16
WEBSOCKETS = 8
EVENT_STREAMS = 2
DEADLINE_S = 420


@dataclass
class Load:
    """What the clients have seen; any fault ends the test at once by its exception."""

    requests: int = 0
    messages: int = 0
    events: int = 0
    downloaded: int = 0
    handshakes: list[tuple[float, str]] = field(
        default_factory=list
    )  # when begun (UNIX time), fingerprint seen
    ending: bool = False


async def keep_asking(port: int, load: Load, name: int) -> None:
    async with Client.to(port) as client:
        for number in itertools.count():
            if load.ending:
                break
            answer = await client.get(f"/client/{name}?n={number}")
            assert answer.status == 200
            assert answer.body == b'{"path":"/client/%d","query":"n=%d"}' % (name, number)
            load.requests += 1
            await trio.sleep(0.02)


async def keep_talking(port: int, load: Load, name: int) -> None:
    async with trio_websocket.open_websocket(
        "127.0.0.1", port, f"/ws/{name}", use_ssl=trusting_nobody()
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


async def download_slowly(port: int, load: Load, swaps_done: Callable[[], int]) -> None:
    """Take 50 MB in step with the swaps, so that it lasts as long as they do."""
    digest = hashlib.sha256()

    def is_ahead() -> bool:
        return load.downloaded / len(DOWNLOAD) > (swaps_done() + 1) / SWAPS

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


async def swap(proxy: Proxy, issued, number: int, folder) -> float:
    """Bring in one certificate, by the inbox or by the command; give the receipt's live_at as UNIX time."""
    if number % 4 < 2:
        since = len(proxy.log)
        for name, content in (("device.key", issued.key_pem), ("device.pem", issued.chain_pem)):
            (folder / name).write_bytes(content)
            os.replace(folder / name, proxy.inbox / name)  # noqa: PTH105
        line = await proxy.wait_log("receipt", since=since, state="confirmed", bundle=issued.bundle().id)
        live_at = line["live_at"]
    else:
        cert, key = folder / f"{number}.pem", folder / f"{number}.key"
        cert.write_bytes(issued.chain_pem)
        key.write_bytes(issued.key_pem)
        receipt = await proxy.certs_import(cert, key)
        assert receipt["state"] in {"live", "confirmed"}, receipt
        live_at = receipt["times"]["live"]
    return datetime.fromisoformat(live_at).timestamp()


@pytest.mark.slow
async def test_two_hundred_swaps_under_load_lose_nothing(tmp_path, pki):
    # EC and RSA in turn, so that each replaces the other.
    issued = [pki.leaf(names=("device.test",), key=("ec", "rsa")[n % 2]) for n in range(SWAPS)]
    fingerprints = [one.bundle().fingerprint for one in issued]
    live_at: list[float] = []
    load = Load()
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, websocket_service() as ws:
            routes = {"/": f"http://127.0.0.1:{http}", "/ws": f"http://127.0.0.1:{ws}"}
            async with running(write_config(tmp_path, routes)) as proxy, trio.open_nursery() as nursery:
                for name in range(CLIENTS):
                    nursery.start_soon(keep_asking, proxy.port, load, name)
                for name in range(WEBSOCKETS):
                    nursery.start_soon(keep_talking, proxy.port, load, name)
                for _ in range(EVENT_STREAMS):
                    nursery.start_soon(keep_following, proxy.port, load)
                nursery.start_soon(download_slowly, proxy.port, load, lambda: len(live_at))
                nursery.start_soon(keep_shaking_hands, proxy.port, load)
                for number, one in enumerate(issued):
                    live_at.append(await swap(proxy, one, number, tmp_path))
                load.ending = True
    assert load.downloaded == len(DOWNLOAD)
    assert load.requests > CLIENTS
    assert load.messages > WEBSOCKETS
    assert load.events > EVENT_STREAMS
    assert_no_handshake_saw_an_old_certificate(load, fingerprints, live_at)


def assert_no_handshake_saw_an_old_certificate(
    load: Load, fingerprints: list[str], live_at: list[float]
) -> None:
    order = {fingerprint: number for number, fingerprint in enumerate(fingerprints)}
    seen = set()
    for begun, fingerprint in load.handshakes:
        live = sum(1 for moment in live_at if moment <= begun) - 1  # the newest that was live when it began
        number = order.get(fingerprint, -1)
        assert number >= live, f"certificate {number} was served after {live} was live"
        seen.add(number)
    assert len(seen) > SWAPS / 10, "too few handshakes to prove anything"
