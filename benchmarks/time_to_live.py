"""How long a new certificate takes from the moment its last file is in place until it is live.

    python benchmarks/time_to_live.py [COUNT]

Starts the proxy as a user does, drops COUNT (default 100) certificates into its inbox, one after the other,
EC and RSA in turn, and takes from each receipt the time between the rename that put the second file there and
`live_at`. Then the same number by `certs import`'s way, a call on the control socket. Prints minimum, median,
99th percentile and maximum. The waiting time for a file to be whole (150 ms without a change, policy.py) is
part of it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import trio

from certstore import Candidate, Identity
from certstore.issuers import selfsigned
from tests.live.proxy_process import Proxy, running, write_config
from tlsproxy.control.client import Client


def make(number: int) -> tuple[bytes, bytes]:
    """Make a certificate for one swap, as (certificate, key) in PEM."""
    now = datetime.now().astimezone()
    bundle = selfsigned.issue(
        Identity(("device.test",), str(number), "device.test"), selfsigned.new_key(), now
    )
    return bundle.chain_pem(), bundle.key_pem()


async def by_inbox(proxy: Proxy, cert: bytes, key: bytes, folder: Path) -> float:
    since = len(proxy.log)
    for name, content in (("device.key", key), ("device.pem", cert)):
        (folder / name).write_bytes(content)
        os.replace(folder / name, proxy.inbox / name)  # noqa: PTH105
    placed = time.time()
    line = await proxy.wait_log("receipt", since=since, state="confirmed", via="inbox")
    return datetime.fromisoformat(line["live_at"]).timestamp() - placed


async def by_control(proxy: Proxy, cert: bytes, key: bytes) -> float:
    begun = time.time()
    candidate = Candidate((("device.pem", cert), ("device.key", key)))
    with Client(proxy.store / "run" / "control.sock") as client:
        receipt = await trio.to_thread.run_sync(client.propose, candidate, "api")
    assert receipt.live_at is not None
    return receipt.live_at.timestamp() - begun


def show(name: str, seconds: list[float]) -> None:
    ms = sorted(1000 * s for s in seconds)
    p99 = ms[min(len(ms) - 1, int(len(ms) * 0.99))]
    median = statistics.median(ms)
    print(f"{name:24} min {ms[0]:6.0f}  median {median:6.0f}  p99 {p99:6.0f}  max {ms[-1]:6.0f} ms")


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        async with running(write_config(place, {"/": "http://127.0.0.1:9"})) as proxy:
            inbox = [await by_inbox(proxy, *make(n), place) for n in range(count)]
            control = [await by_control(proxy, *make(n)) for n in range(count)]
    show(f"inbox ({count})", inbox)
    show(f"control socket ({count})", control)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 100)
