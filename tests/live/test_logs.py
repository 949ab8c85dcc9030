"""The log of a whole proxy: nobody waits for who reads it, and what it says of exchanges."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config

DEADLINE_S = 90
PIPE_BYTES = 4096
REQUESTS = 400


async def test_a_log_that_nobody_reads_stops_neither_workers_nor_supervisor(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            more = '[log]\naccess = "on"\naccess_per_s = 100000\naccess_query = true\n'
            routes = {"/": f"http://127.0.0.1:{http}", "/dead": "http://127.0.0.1:9"}
            port = free_port()
            listener = f"127.0.0.1:{port}"
            config = write_config(tmp_path, routes, more=more, listener=listener, top="workers = 1")
            reader, writer = os.pipe()
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "tlsproxy", "run", "--config", str(config)],
                stderr=writer,
                stdin=subprocess.DEVNULL,
                cwd=tmp_path,
            )
            os.close(writer)
            try:
                await until_serving(tmp_path / "store")
                fill(reader)  # the pipe is full from now on, and nobody reads
                long = "x" * 2000
                async with Client.to(port) as client:
                    for number in range(REQUESTS):
                        assert (await client.get(f"/{number}?{long}")).status == 200
                    for _ in range(30):
                        assert (await client.get("/dead")).status == 502
                # the supervisor answers, and brings a change to its end
                done = await tlsproxy("certs", "import", str(config), "--store", str(tmp_path / "store"))
                assert b"unparsable" in done.stdout + done.stderr
                done = await tlsproxy("reload", "--store", str(tmp_path / "store"))
                assert done.returncode == 0, done.stderr
                async with Client.to(port) as client:
                    assert (await client.get("/after")).status == 200
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
            finally:
                process.kill()
                await process.wait()
                os.close(reader)


def fill(reader: int) -> None:
    """Fill a pipe by its own other end, so that its writers meet a full one."""
    writer = os.open(f"/proc/self/fd/{reader}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"." * PIPE_BYTES)
    except BlockingIOError:
        return
    finally:
        os.close(writer)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


async def until_serving(store: Path) -> None:
    while (await tlsproxy("status", "--json", "--store", str(store))).stdout.find(b'"accepting"') < 0:  # noqa: ASYNC110
        await trio.sleep(0.05)


async def access_lines(proxy: Proxy, count: int) -> list[dict[str, object]]:
    """Wait for so many access lines."""
    while True:
        lines = [line for line in proxy.log if line.get("room") == "access"]
        if len(lines) >= count:
            return lines
        await proxy.grew.wait()


async def test_each_exchange_is_a_line_with_the_id_that_its_service_was_told(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            more = '[log]\naccess = "on"\ntrace = true\nmask_clients = true\n'
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, more=more, top="workers = 2")
            async with running(config) as proxy:
                async with Client.to(proxy.port) as client:
                    for number in range(3):
                        assert (await client.get(f"/{number}?token=sesame42")).status == 200
                    fingerprint = client.fingerprint
                lines = await access_lines(proxy, 3)
                assert [line["path"] for line in lines] == ["/0", "/1", "/2"]
                assert {line["client"] for line in lines} == {"127.0.0.0/24"}
                assert {line["bundle"] for line in lines} == {fingerprint}
                assert len({line["trace"] for line in lines}) == 3
                assert "sesame42" not in str(proxy.log)


async def test_a_service_that_is_down_fills_no_log(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
        async with running(config) as proxy:
            begun = trio.current_time()
            async with Client.to(proxy.port) as client:
                for _ in range(200):
                    assert (await client.get("/x")).status == 502
            took = trio.current_time() - begun
            await proxy.status()
        told = [line for line in proxy.log if line.get("event") == "exchange_failed"]
        assert 20 <= len(told) <= 22 + took
