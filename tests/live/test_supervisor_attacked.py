"""A supervisor in bad company: nothing that is done to it, or taken from it, takes its clients along."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import trio

from tests.live.https_client import Client
from tests.live.proxy_process import Proxy, running, write_config
from tests.live.test_workers import worker_pids

DEADLINE_S = 90
NOBODY = {"/": "http://127.0.0.1:9"}


async def answers(proxy: Proxy) -> int:
    async with Client.to(proxy.port) as client:
        return (await client.get("/")).status


async def reload(proxy: Proxy) -> None:
    since = len(proxy.log)
    proxy.process.send_signal(signal.SIGHUP)
    await proxy.wait_log("reloaded", since=since)


async def test_a_reload_makes_a_control_socket_again_whose_file_was_removed(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with running(write_config(tmp_path, NOBODY, top="workers = 1")) as proxy:
            shutil.rmtree(proxy.store / "run")
            await reload(proxy)
            assert (await proxy.status())["process"]["epoch"] == 2


async def test_a_reload_that_can_have_no_control_socket_serves_on_and_the_next_one_mends_it(
    tmp_path: Path,
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with running(write_config(tmp_path, NOBODY, top="workers = 1")) as proxy:
            folder = proxy.store / "run"
            shutil.rmtree(folder)
            folder.write_text("in the way")
            await reload(proxy)
            await proxy.wait_log("control_lost")
            assert await answers(proxy) == 502
            folder.unlink()
            await reload(proxy)
            assert (await proxy.status())["process"]["epoch"] == 3


async def test_without_a_descriptor_left_nothing_changes_and_later_all_is_well(tmp_path: Path) -> None:
    """Somebody holds as many connections to the control socket as the supervisor may have descriptors."""
    with trio.fail_after(DEADLINE_S), ExitStack() as held:
        config = write_config(tmp_path, NOBODY, top="workers = 2")
        async with running(config, before=("prlimit", "--nofile=64:64")) as proxy:
            first, second = await worker_pids(proxy)
            await hold_all(proxy, held)
            proxy.process.send_signal(signal.SIGHUP)
            await proxy.wait_log("reload_refused")
            os.kill(first, signal.SIGKILL)
            await proxy.wait_log("worker_not_started")
            assert await answers(proxy) == 502
            held.close()
            while len(now := await worker_pids(proxy)) < 2:  # noqa: ASYNC110
                await trio.sleep(0.1)
            assert second in now
            await reload(proxy)


def count_descriptors(proxy: Proxy) -> int:
    return len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))


async def hold_all(proxy: Proxy, held: ExitStack) -> None:
    """Ask on ever more connections and never finish, until the supervisor takes no more."""
    while True:
        sock = held.enter_context(socket.socket(socket.AF_UNIX))
        sock.setblocking(False)
        try:
            sock.connect(str(proxy.store / "run" / "control.sock"))
            sock.send(b"POST /v1/candidates HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
        except BlockingIOError:  # its queue is full
            if count_descriptors(proxy) == 64:
                return
            await trio.sleep(0.01)


async def test_a_stop_while_a_new_image_starts_lets_requests_end(tmp_path: Path) -> None:
    asked, answer = trio.Event(), trio.Event()

    async def slow(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        await answer.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")

    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, slow, [listener])
            upstream = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
            config = write_config(tmp_path, {"/": upstream}, top="workers = 1")
            async with running(config) as proxy, Client.to(proxy.port) as client:

                async def ask() -> None:
                    assert (await client.get("/")).body == b"done"

                async with trio.open_nursery() as asking:
                    asking.start_soon(ask)
                    await asked.wait()
                    proxy.process.send_signal(signal.SIGHUP)
                    await proxy.wait_log("reloading")
                    proxy.process.send_signal(signal.SIGTERM)  # it waits until the new image can obey it
                    await proxy.wait_log("draining")
                    answer.set()
                assert await proxy.process.wait() == 0
            nursery.cancel_scope.cancel()


async def test_a_reload_that_is_asked_for_during_the_start_comes_after_it(tmp_path: Path) -> None:
    config = write_config(tmp_path, NOBODY, top="workers = 1")
    command = [sys.executable, "-m", "tlsproxy", "run", "--config", str(config)]
    with trio.fail_after(DEADLINE_S), (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)  # noqa: ASYNC220
        try:
            while not holds_back(process.pid, signal.SIGHUP):
                assert process.poll() is None
                await trio.sleep(0.001)
            process.send_signal(signal.SIGHUP)
            while b'"reloaded"' not in (tmp_path / "log").read_bytes():
                assert process.poll() is None
                await trio.sleep(0.05)
        finally:
            process.terminate()
            assert await trio.to_thread.run_sync(process.wait) == 0


def holds_back(pid: int, number: int) -> bool:
    """Whether a process blocks a signal, by /proc (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))
    return bool(mask >> (number - 1) & 1)
