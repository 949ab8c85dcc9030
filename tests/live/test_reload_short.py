"""A reload on a system that is short of something in the very moment in which the new image begins."""

from __future__ import annotations

import signal
from pathlib import Path

import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import running, write_config

DEADLINE_S = 120

# Read by Python at its start. A new image can have no thread while the file `short` is there.
SHORT = """
import os, threading
start, folder = threading.Thread.start, {folder!r}
def refuse(thread):
    if os.path.exists(folder + "/short"):
        with open(folder + "/refused", "a") as file:
            file.write(f"{{os.getpid()}}\\n")
        raise RuntimeError("can't start new thread")
    start(thread)
if "TLSPROXY_HANDOVER" in os.environ:
    threading.Thread.start = refuse
"""


async def test_a_new_image_that_gets_no_thread_waits_for_one_while_the_old_workers_serve(
    tmp_path: Path,
) -> None:
    """It ended, and with it all that was handed over to it."""
    modules, store = tmp_path / "modules", tmp_path / "store"
    short, refused = store / "short", store / "refused"  # a fence surrounds the supervisor
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(SHORT.format(folder=str(store)))
    env = {"PYTHONPATH": f"{modules}:{Path(__file__).parents[2]}"}
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            async with running(config, env=env) as proxy:
                short.touch()
                proxy.process.send_signal(signal.SIGHUP)
                while not refused.exists() or refused.read_text().count(str(proxy.process.pid)) < 3:  # noqa: ASYNC110
                    await trio.sleep(0.01)
                async with Client.to(proxy.port) as client:
                    assert (await client.get("/")).status == 200
                short.unlink()
                await proxy.wait_log("reloaded")
                assert [line for line in proxy.log if line["event"] == "thread_awaited"]
                async with Client.to(proxy.port) as client:
                    assert (await client.get("/")).status == 200
