"""A new certificate under load: how long until it is served, and what the clients notice.

The time runs from the moment when the new files are handed over, in each peer's own best way
(peers/rotation.py), until a new connection is first shown the new certificate. Meanwhile wrk asks on 32
keep-alive connections, which must neither fail nor be lost; 20 WebSockets are open, of which none may be
closed. A keep-alive connection that the server ends counts as failed: the client's next request may be lost.
"""

from __future__ import annotations

import ssl
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks import client
from benchmarks.credentials import issue
from benchmarks.figures import Figure
from benchmarks.scenarios import wrk
from benchmarks.scenarios.echo import FRAME, open_socket
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import Server
from tests.pki import Pki

CONNECTIONS = 32
WEBSOCKETS = 20
_PAUSE_S = 0.3
# Between two looks at what a new connection is shown: rarely enough not to be a load of its own.
_LOOK_S = 0.005
_LIVE_WITHIN_S = 5.0


def _rotate(server: Server, context: ssl.SSLContext) -> tuple[float, int]:
    """Hand one certificate over; give the seconds until it is seen, and connections that failed meanwhile."""
    begun, failed = time.monotonic(), 0
    with ThreadPoolExecutor(1) as aside:  # Caddy answers only when its old connections have ended
        told = aside.submit(server.peer.rotate, server)
        while time.monotonic() - begun < _LIVE_WITHIN_S:
            try:
                with client.connect(context, server.port) as tls:
                    seen = client.fingerprint(tls) == server.new.fingerprint
            except OSError:
                failed += 1
                continue
            if seen:
                took = time.monotonic() - begun
                told.result()
                return took, failed
            time.sleep(_LOOK_S)
        told.result()
    raise TimeoutError("the new certificate isn't served")


def _lost(sockets: list[ssl.SSLSocket]) -> int:
    """Count the WebSockets that don't echo any more."""
    lost = 0
    for tls in sockets:
        try:
            tls.settimeout(2.0)
            tls.sendall(FRAME)
            lost += tls.recv(4096) != FRAME  # a close frame isn't an echo
        except OSError:
            lost += 1
    return lost


def measure(server: Server, quick: bool) -> Mapping[str, float]:  # noqa: FBT001  one flag, named where it is read
    """Measure the latency without, then with rotations all the time."""
    count, context = (3 if quick else 12), client.make_context()
    quiet = wrk.load(server.port, CONNECTIONS, 1 if quick else 3)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rotation-", dir=server.folder)))
        pki = Pki()
        upcoming = [issue(pki, folder / str(number)) for number in range(count)]
        sockets = [stack.enter_context(open_socket(context, server.port)) for _ in range(WEBSOCKETS)]
        load = wrk.start(server.port, CONNECTIONS, 2 if quick else 8)
        stack.callback(load.wait)
        stack.callback(load.kill)
        lives, failed = [], 0
        for server.new in upcoming:
            took, missed = _rotate(server, context)
            lives.append(took)
            failed += missed
            time.sleep(_PAUSE_S)
        busy = wrk.finish(load)
        lost = _lost(sockets)
    return {
        "live": statistics.median(lives) * 1000,
        "slowest": max(lives) * 1000,
        "failed": float(busy.bad + busy.errors + failed),
        "lost": float(lost),
        "p99": busy.p99_ms / quiet.p99_ms,
    }


SCENARIO = Scenario(
    name="rotation",
    title="Rotation under load",
    load="wrk on 32 keep-alive connections, 20 open WebSockets, a new certificate every 0.3 s",
    figures=(
        Figure("live", "ms from handing over to seen, median", compared=False),
        Figure("slowest", "slowest", compared=False, drawn=False),
        Figure("failed", "requests and connections failed", compared=False, drawn=False),
        Figure("lost", "WebSockets lost of 20", compared=False, drawn=False),
        Figure("p99", "p99 latency, times quiet", 2, compared=False),
    ),
    measure=measure,
    fresh=True,
    rounds=1,
)
