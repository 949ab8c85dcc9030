"""The proxy as a user runs it: a process of its own, known by what it logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

START_S = 30.0


@dataclass
class Proxy:
    """A running proxy; `log` grows with every line that it writes."""

    process: trio.Process
    store: Path
    port: int
    http_port: int | None
    log: list[dict[str, Any]] = field(default_factory=list)
    grew: trio.Event = field(default_factory=trio.Event)
    written: bytearray = field(default_factory=bytearray)
    """All of it, as it was written."""

    @property
    def inbox(self) -> Path:
        return self.store / "inbox"

    async def wait_log(self, event: str, *, since: int = 0, **facts: Any) -> dict[str, Any]:
        """Wait until a line with this event and these facts was logged."""
        with trio.fail_after(START_S):
            while True:
                for line in self.log[since:]:
                    if line.get("event") == event and facts.items() <= line.items():
                        return line
                await self.grew.wait()

    async def certs_import(self, *files: Path) -> dict[str, Any]:
        """Run `tlsproxy certs import ... --json` and give its receipt, refused ones too."""
        done = await tlsproxy("certs", "import", *map(str, files), "--store", str(self.store), "--json")
        assert done.stdout, done.stderr
        receipt: dict[str, Any] = json.loads(done.stdout)
        return receipt

    async def status(self) -> dict[str, Any]:
        done = await tlsproxy("status", "--json", "--store", str(self.store))
        assert done.returncode == 0, done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        return status


async def tlsproxy(
    *words: str, stdin: bytes = b"", within_s: float = START_S
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    with trio.fail_after(within_s):
        return await trio.run_process(
            [sys.executable, "-m", "tlsproxy", *words],
            capture_stdout=True,
            capture_stderr=True,
            stdin=stdin,
            check=False,
        )


CONFIG = """
store = "{store}"
{top}
[[listener]]
address = "{listener}"
{more_listeners}
{routes}
[identity]
names = ["device.test"]
addresses = false
{more}
"""


def write_config(
    folder: Path,
    routes: dict[str, str],
    *,
    http: bool = False,
    more: str = "",
    top: str = "",
    listener: str = "127.0.0.1:0",
    store: Path | None = None,
) -> Path:
    """Write a configuration for a test; its listeners take free ports, unless told otherwise."""
    path = folder / "tlsproxy.toml"
    path.write_text(
        CONFIG.format(
            store=store or folder / "store",
            top=top,
            listener=listener,
            more_listeners='[[listener]]\naddress = "127.0.0.1:0"\nkind = "http"' if http else "",
            routes="\n".join(f'[[route]]\npath = "{p}"\nupstream = "{u}"' for p, u in routes.items()),
            more=more,
        )
    )
    return path


@asynccontextmanager
async def running(
    config: Path,
    store: Path | None = None,
    *,
    before: Sequence[str] = (),
    killed: bool = False,
    env: dict[str, str] | None = None,
    python: str = sys.executable,
    options: Sequence[str] = (),
) -> AsyncIterator[Proxy]:
    """Run `tlsproxy run --config` until the block ends; SIGTERM ends it, cleanly unless it was `killed`."""
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                [*before, python, "-m", "tlsproxy", "run", "--config", str(config), *options],
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                check=False,
                env={**os.environ, **(env or {})},
                cwd=config.parent,  # modules come from where they are installed, or from PYTHONPATH
            )
        )
        proxy = Proxy(process, store or config.parent / "store", 0, None)
        nursery.start_soon(_follow, process, proxy)
        try:
            ready = await proxy.wait_log("serving")
            listening = ready["listeners"]
            proxy.port = next(entry["port"] for entry in listening if entry["kind"] == "tls")
            proxy.http_port = next((entry["port"] for entry in listening if entry["kind"] == "http"), None)
            yield proxy
            if not killed:
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0, proxy.log[-5:]
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(START_S):
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                await process.wait()
            nursery.cancel_scope.cancel()


async def _follow(process: trio.Process, proxy: Proxy) -> None:
    assert process.stderr is not None
    rest = b""
    async for data in process.stderr:
        proxy.written += data
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            try:
                proxy.log.append(json.loads(line))
            except ValueError:
                proxy.log.append({"event": "raw", "line": line.decode("utf-8", "replace")})
        proxy.grew.set()
        proxy.grew = trio.Event()
