"""The main promise, on real sockets: certificates swapped under load, and nothing lost, altered or late."""

from __future__ import annotations

import os
from datetime import datetime

import pytest
import trio

from tests.live.load import (
    Load,
    download_slowly,
    keep_asking,
    keep_following,
    keep_shaking_hands,
    keep_talking,
)
from tests.live.peers import DOWNLOAD, http_service, websocket_service
from tests.live.proxy_process import Proxy, running, write_config

SWAPS = 200
CLIENTS = 16
WEBSOCKETS = 8
EVENT_STREAMS = 2
DEADLINE_S = 420


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
                nursery.start_soon(download_slowly, proxy.port, load, lambda: (len(live_at) + 1) / SWAPS)
                nursery.start_soon(keep_shaking_hands, proxy.port, load)
                for number, one in enumerate(issued):
                    live_at.append(await swap(proxy, one, number, tmp_path))
                load.ending = True
    assert load.downloaded == len(DOWNLOAD)
    assert not load.reconnects
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
