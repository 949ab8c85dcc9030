"""A proxy with a certificate of the test authority, for clients that verify it, and what it counts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import trio

from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, write_config
from tests.pki import Pki
from tests.scraping import parsed

REQUEST = b"GET /headers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CLIENT_S = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """A proxy on 127.0.0.1 that serves `localhost`; `trusted` is its root as a file."""

    proxy: Proxy
    trusted: Path

    @property
    def port(self) -> int:
        return self.proxy.port

    async def handshakes(self) -> dict[tuple[str, ...], float]:
        """Count those that succeeded, by version, group, cipher, and "true" where it was resumed."""
        return await self._series("tlsproxy_handshakes_total")

    async def failures(self) -> dict[tuple[str, ...], float]:
        """Count those that failed, by reason."""
        return await self._series("tlsproxy_handshake_failures_total")

    async def _series(self, name: str) -> dict[tuple[str, ...], float]:
        transport = httpx2.AsyncHTTPTransport(uds=str(self.proxy.store / "run" / "control.sock"))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            text = (await client.get("/v1/metrics")).text
        return {labels: value for labels, value in parsed(text).get(name, {}).items() if value}


@asynccontextmanager
async def served(folder: Path, pki: Pki, engine: str, key: str = "ec") -> AsyncIterator[Served]:
    """Run a proxy with one worker, whose `/headers` tells the request's fields as JSON."""
    issued = pki.leaf(("localhost",), key=key)
    (folder / "leaf.pem").write_bytes(issued.chain_pem)
    (folder / "leaf.key").write_bytes(issued.key_pem)
    trusted = folder / "root.pem"
    trusted.write_bytes(pki.root_pem)
    async with http_service() as port:
        more = f'[tls]\nengine = "{engine}"'
        config = write_config(folder, {"/": f"http://127.0.0.1:{port}"}, top="workers = 1", more=more)
        async with running(config) as proxy:
            receipt = await proxy.certs_import(folder / "leaf.pem", folder / "leaf.key")
            assert receipt["state"] == "confirmed", receipt
            yield Served(proxy, trusted)


async def ran(
    command: Iterable[str | Path], said: bytes = b"", environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a client to its end; gives its exit code, and all that it printed. It hears of no web proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with trio.fail_after(CLIENT_S):
        done = await trio.run_process(
            [str(word) for word in command],
            stdin=said,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            env={**kept, **(environment or {})},
        )
    return done.returncode, done.stdout.decode("utf-8", "replace")
