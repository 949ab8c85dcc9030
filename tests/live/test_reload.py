"""Reload: new configuration and new code, under load, and not one connection lost."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.live.https_client import Client
from tests.live.load import (
    Load,
    download_slowly,
    keep_asking,
    keep_following,
    keep_shaking_hands,
    keep_talking,
)
from tests.live.peers import DOWNLOAD, http_service, websocket_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.workers import is_alive

DEADLINE_S = 150
RELOADS = 3
CLIENTS = 12
WEBSOCKETS = 6
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def under_load(port: int) -> AsyncIterator[Load]:
    """Keep a proxy busy in every way while the block runs, and lose nothing."""
    load = Load()
    async with trio.open_nursery() as nursery:
        for name in range(CLIENTS):
            nursery.start_soon(keep_asking, port, load, name)
        for name in range(WEBSOCKETS):
            nursery.start_soon(keep_talking, port, load, name)
        nursery.start_soon(keep_following, port, load)
        nursery.start_soon(keep_shaking_hands, port, load)
        await more_of(load)
        yield load
        await more_of(load)
        load.ending = True


async def more_of(load: Load) -> None:
    """Wait until everybody has had something more."""
    before = load.counts
    while min(now - then for now, then in zip(load.counts, before, strict=True)) < 20:  # noqa: ASYNC110
        await trio.sleep(0.01)


async def reload(proxy: Proxy) -> tuple[int, str]:
    done = await tlsproxy("reload", "--store", str(proxy.store))
    return done.returncode, done.stderr.decode()


async def test_a_supervisor_executed_anew_under_load_loses_nothing(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, websocket_service() as ws:
            routes = {"/": f"http://127.0.0.1:{http}", "/ws": f"http://127.0.0.1:{ws}"}
            async with running(write_config(tmp_path, routes, top="workers = 2")) as proxy:
                before = await proxy.status()
                async with under_load(proxy.port) as load, trio.open_nursery() as nursery:
                    done = 0.0
                    nursery.start_soon(download_slowly, proxy.port, load, lambda: done)
                    for number in range(RELOADS):
                        assert await reload(proxy) == (0, "")
                        done = (number + 1) / RELOADS
                        await more_of(load)
                    done = 1.0
                after = await proxy.status()
                assert load.downloaded == len(DOWNLOAD)
                assert load.reconnects >= CLIENTS
                assert after["process"]["pid"] == before["process"]["pid"]
                assert after["process"]["epoch"] == RELOADS + 1
                serving = [w for w in after["workers"] if w["stage"] == "accepting"]
                assert {w["epoch"] for w in serving} == {RELOADS + 1}


async def test_a_configuration_changed_under_load_takes_effect_and_websockets_live_on(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, websocket_service() as ws:
            routes = {"/": f"http://127.0.0.1:{http}", "/ws": f"http://127.0.0.1:{ws}"}
            config = write_config(tmp_path, routes, top="workers = 2", http=True)
            async with running(config) as proxy:
                assert proxy.http_port is not None
                async with under_load(proxy.port):
                    # one worker less, another route, the plain port gone and a second TLS port there
                    extra = free_port()
                    changed = config.read_text().replace("workers = 2", "workers = 1")
                    plain, second = 'address = "127.0.0.1:0"\nkind = "http"', f'address = "127.0.0.1:{extra}"'
                    changed = changed.replace(plain, second)
                    changed += '\n[[route]]\npath = "/gone"\nupstream = "http://127.0.0.1:9"\n'
                    config.write_text(changed)
                    since = len(proxy.log)
                    proxy.process.send_signal(signal.SIGHUP)
                    line = await proxy.wait_log("reloaded", since=since)
                    assert line["workers"] == 1
                    for port in (proxy.port, extra):
                        async with Client.to(port) as client:
                            assert (await client.get("/gone")).status == 502
                            assert (await client.get("/still/here")).status == 200
                    with pytest.raises(OSError):
                        await trio.open_tcp_stream("127.0.0.1", proxy.http_port)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_a_configuration_that_is_wrong_changes_nothing_and_is_told(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"})
            good = config.read_text()
            async with running(config) as proxy:
                before = (await proxy.status())["workers"]
                config.write_text(good.replace("[[route]]", "[[rout]]"))
                code, words = await reload(proxy)
                assert code == 1
                assert words.startswith("tlsproxy: error: the reload was refused: ")
                assert "route: is missing" in words
                config.write_text(good.replace(f'store = "{proxy.store}"', f'store = "{tmp_path}/other"'))
                code, words = await reload(proxy)
                assert code == 1
                assert "store can't change" in words
                since = len(proxy.log)
                proxy.process.send_signal(signal.SIGHUP)
                await proxy.wait_log("reload_refused", since=since)
                status = await proxy.status()
                assert status["process"]["epoch"] == 1
                assert [w["pid"] for w in status["workers"]] == [w["pid"] for w in before]
                config.write_text(good)
                assert await reload(proxy) == (0, "")


async def test_a_file_that_is_broken_between_the_preflight_and_the_exec_ends_nothing(tmp_path: Path) -> None:
    """A change of the store that takes long stands in between: its examiner is stopped."""
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, trio.open_nursery() as nursery:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            good = config.read_text()
            async with running(config) as proxy:
                examiner = await examiner_of(proxy)
                (tmp_path / "x.pem").write_text("nothing")
                os.kill(examiner, signal.SIGSTOP)
                nursery.start_soon(proxy.certs_import, tmp_path / "x.pem")
                await grown(proxy.store / "receipts", 2)
                config.write_text(good.replace("workers = 1", "workers = 2"))
                proxy.process.send_signal(signal.SIGHUP)
                await told(proxy.store / "audit.jsonl", '"begun"')
                config.write_text("store = ")
                os.kill(examiner, signal.SIGCONT)
                assert (await proxy.wait_log("reloaded"))["workers"] == 2
                async with Client.to(proxy.port) as client:
                    assert (await client.get("/")).status == 200
                code, words = await reload(proxy)
                assert (code, "is no TOML" in words) == (1, True), "the next one reads the file again"


async def test_a_port_that_somebody_takes_between_the_preflight_and_the_exec_leaves_nobody_in_the_dark(
    tmp_path: Path,
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, trio.open_nursery() as nursery:
            old, new = free_port(), free_port()
            config = write_config(
                tmp_path, {"/": f"http://127.0.0.1:{http}"}, listener=f"127.0.0.1:{old}", top="workers = 1"
            )
            good = config.read_text()
            async with running(config) as proxy:
                examiner = await examiner_of(proxy)
                (tmp_path / "x.pem").write_text("nothing")
                os.kill(examiner, signal.SIGSTOP)
                nursery.start_soon(proxy.certs_import, tmp_path / "x.pem")
                await grown(proxy.store / "receipts", 2)
                config.write_text(good.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}"))
                proxy.process.send_signal(signal.SIGHUP)
                await told(proxy.store / "audit.jsonl", '"begun"')
                with socket.create_server(("127.0.0.1", new)):
                    os.kill(examiner, signal.SIGCONT)
                    listening = (await proxy.wait_log("reloaded"))["listeners"]
                    assert [one["port"] for one in listening] == [old]
                    lost = await proxy.wait_log("finding", code="listener_lost")
                    assert f"127.0.0.1:{new}" in lost["words"]
                    await asks(old)
                    (trouble,) = (await proxy.status())["troubles"]
                    assert (trouble["code"], trouble["severity"]) == ("listener_lost", "error")
                assert await reload(proxy) == (0, "")
                assert (await proxy.status())["troubles"] == []
                await asks(new)
                with pytest.raises(OSError, match="refused"):
                    socket.create_connection(("127.0.0.1", old))


async def asks(port: int) -> None:
    async with Client.to(port) as client:
        assert (await client.get("/")).status == 200


async def examiner_of(proxy: Proxy) -> int:
    """Wait until it is warm."""
    while True:
        for one in (await proxy.status())["confinement"]:
            if one["kind"] == "examiner":
                return int(one["facts"]["pid"])


async def grown(folder: Path, files: int) -> None:
    while len(list(folder.glob("0*"))) < files:  # noqa: ASYNC110, ASYNC240
        await trio.sleep(0.01)


async def told(file: Path, words: str) -> None:
    while words not in file.read_text():  # noqa: ASYNC110, ASYNC240
        await trio.sleep(0.01)


async def test_a_package_that_cannot_start_changes_nothing_and_a_mended_one_is_taken_up(
    tmp_path: Path,
) -> None:
    package = tmp_path / "package"
    for name in ("tlsproxy", "certstore"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            async with running(config, env={"PYTHONPATH": str(package)}) as proxy:
                first = "from __future__ import annotations"
                for broken in ("app.py", "workers/process.py", "workers/crew.py"):
                    path = package / "tlsproxy" / broken
                    good = path.read_text()
                    path.write_text(good.replace(first, f"{first}\nraise RuntimeError('broken on purpose')"))
                    code, words = await reload(proxy)
                    assert code == 1, broken
                    assert "reload was refused" in words
                    path.write_text(good)
                async with Client.to(proxy.port) as client:
                    assert (await client.get("/")).status == 200
                mark = package / "tlsproxy" / "__init__.py"
                mark.write_text(mark.read_text().replace('__version__ = "', '__version__ = "9.'))
                assert await reload(proxy) == (0, "")
                assert (await proxy.status())["process"]["version"].startswith("9.")


async def test_who_asks_for_the_end_while_the_new_image_starts_gets_an_orderly_one(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            async with running(config, killed=True) as proxy, Client.to(proxy.port) as client:
                await client.start("/download")
                proxy.process.send_signal(signal.SIGHUP)
                await proxy.wait_log("reloading")
                proxy.process.send_signal(signal.SIGTERM)
                await proxy.wait_log("draining")
                size = 0
                async for part in client.parts():
                    size += len(part)
                assert size == len(DOWNLOAD)
                assert await proxy.process.wait() == 0


async def test_the_old_sets_beyond_three_are_closed(tmp_path: Path) -> None:
    """Each set is kept alive by an event stream of its own."""
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            async with running(config) as proxy, trio.open_nursery() as nursery:
                cut: list[int] = []

                async def follow(number: int, *, task_status: trio.TaskStatus[None]) -> None:
                    async with Client.to(proxy.port) as client:
                        await client.start("/events")
                        task_status.started()
                        try:
                            async for _ in client.parts():
                                pass
                        except Exception:  # noqa: BLE001  whatever form the cut takes
                            cut.append(number)

                pids = []
                for number in range(5):
                    await nursery.start(follow, number)
                    workers = (await proxy.status())["workers"]
                    pids += [w["pid"] for w in workers if w["stage"] == "accepting"]
                    assert await reload(proxy) == (0, "")
                while len(cut) < 2:  # noqa: ASYNC110
                    await trio.sleep(0.01)
                assert cut == [0, 1]
                while any(map(is_alive, pids[:2])):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                assert all(map(is_alive, pids[2:]))
                nursery.cancel_scope.cancel()


async def test_a_control_socket_that_somebody_has_removed_is_there_again_after_a_reload(
    tmp_path: Path,
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            async with running(config) as proxy:
                (proxy.store / "run" / "control.sock").unlink()
                proxy.process.send_signal(signal.SIGHUP)
                await proxy.wait_log("reloaded")
                assert (await proxy.status())["process"]["epoch"] == 2


DEAF = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


async def test_who_is_started_with_no_interest_in_children_still_hears_how_they_end(tmp_path: Path) -> None:
    """With SIGCHLD ignored, as some launchers have it, the system itself reaps them."""
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            async with running(config, before=[sys.executable, "-c", DEAF]) as proxy:
                (worker,) = (await proxy.status())["workers"]
                os.kill(worker["pid"], signal.SIGKILL)
                ended = await proxy.wait_log("worker_ended", pid=worker["pid"])
                assert ended["exit_code"] == -signal.SIGKILL
                assert await reload(proxy) == (0, "")
