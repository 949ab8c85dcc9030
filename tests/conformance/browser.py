"""A headless Chromium, driven over its DevTools protocol: open a page, ask it, take its picture."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio_websocket

START_S = 60.0
# Nothing of its own may go out to the network; a certificate that it would warn about is what we look at.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)


class Page:
    """One tab; its commands and their answers, in order."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self._socket, self._session, self._number = socket, "", 0
        self.problems: list[str] = []
        """What the page complained of on its console: exceptions, errors, breaches of its policy."""

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        await self._socket.send_message(
            json.dumps(message | ({"sessionId": self._session} if self._session else {}))
        )
        while True:
            told = json.loads(await self._socket.get_message())
            if told.get("id") == self._number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self._note(told)

    async def attach(self) -> None:
        target = await self.command("Target.createTarget", url="about:blank")
        session = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = session["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            await self.command(f"{domain}.enable")

    async def open(self, url: str) -> None:
        told = await self.command("Page.navigate", url=url)
        assert not told.get("errorText"), told

    async def ask(self, expression: str) -> Any:
        """Evaluate JavaScript in the page; a promise is awaited."""
        told = await self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def wait(self, condition: str) -> Any:
        """Wait until a JavaScript condition holds, looking before every frame, and give its value."""
        return await self.ask(
            "new Promise((resolve) => {"
            f"  const look = () => {{ let v; try {{ v = {condition}; }} catch {{ v = false; }}"
            "    if (v) resolve(v); else requestAnimationFrame(look); };"
            "  look(); })"
        )

    async def picture(self, file: Path, width: int, height: int, *, dark: bool = False) -> bytes:
        """Take a picture (PNG) and keep it in `file`."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[scheme])
        await self.ask("Promise.all(document.getAnimations().map((one) => one.finished)).then(() => true)")
        png = base64.b64decode((await self.command("Page.captureScreenshot", format="png"))["data"])
        await trio.Path(file).write_bytes(png)
        return png

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"])


@asynccontextmanager
async def chromium(program: str, profile: Path, *flags: str, home: Path | None = None) -> AsyncIterator[Page]:
    """Run Chromium with a new profile until the block ends; what it trusts lies in `home` (.pki/nssdb)."""
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                [program, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                env={**os.environ, **({"HOME": str(home)} if home is not None else {})},
            )
        )
        try:
            url = await _devtools_url(process, nursery)
            async with trio_websocket.open_websocket_url(url, max_message_size=2**26) as socket:
                page = Page(socket)
                await page.attach()
                yield page
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                with trio.move_on_after(10):
                    await process.wait()
            nursery.cancel_scope.cancel()


async def _devtools_url(process: trio.Process, nursery: trio.Nursery) -> str:
    assert process.stderr is not None
    said = b""
    with trio.fail_after(START_S):
        async for data in process.stderr:
            said += data
            if match := re.search(rb"DevTools listening on (ws://\S+)\s", said):
                nursery.start_soon(_drain, process.stderr)
                return match[1].decode()
    raise AssertionError(f"chromium did not start: {said[-2000:]!r}")


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass
