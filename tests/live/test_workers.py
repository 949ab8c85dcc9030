"""Workers as processes: one that dies, hangs or is asked to leave takes nobody along but its own clients."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path

import h11
import trio

from tests.confining import only_root_looks_in
from tests.live.https_client import Client
from tests.live.load import Load, keep_asking, keep_shaking_hands
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, write_config
from tests.live.workers import is_alive, owners

DEADLINE_S = 90
CLIENTS = 24
TWO = "workers = 2"


async def worker_pids(proxy: Proxy) -> list[int]:
    status = await proxy.status()
    return [worker["pid"] for worker in status["workers"] if worker["stage"] == "accepting"]


@asynccontextmanager
async def proxy_with(folder: Path, workers: int) -> AsyncIterator[Proxy]:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(folder, {"/": f"http://127.0.0.1:{http}"}, top=f"workers = {workers}")
            async with running(config) as proxy:
                yield proxy


async def asks(client: Client, number: int) -> bool:
    """Whether the client gets its answer."""
    try:
        return (await client.get(f"/{number}")).status == 200
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        return False


@only_root_looks_in
async def test_of_a_killed_worker_only_its_own_connections_are_lost(tmp_path: Path) -> None:
    async with proxy_with(tmp_path, 2) as proxy, AsyncExitStack() as stack:
        pids = await worker_pids(proxy)
        clients = {}
        for _ in range(CLIENTS):
            client = await stack.enter_async_context(Client.to(proxy.port))
            clients[client.local_port] = client
            assert await asks(client, 0)
        held_by = owners(pids, proxy.port)
        assert set(held_by) == set(clients)
        assert set(held_by.values()) == set(pids), "both have some"
        since = len(proxy.log)
        os.kill(pids[0], signal.SIGKILL)
        await proxy.wait_log("worker_ended", since=since, pid=pids[0])
        kept = {port for port, client in clients.items() if await asks(client, 1)}
        assert kept == {port for port, pid in held_by.items() if pid == pids[1]}


@only_root_looks_in
async def test_connections_that_wait_for_a_killed_worker_are_served_by_its_neighbour(tmp_path: Path) -> None:
    async with proxy_with(tmp_path, 2) as proxy:
        first, second = await worker_pids(proxy)
        os.kill(first, signal.SIGSTOP)  # it accepts nothing more: connections pile up in its queue
        try:
            served: list[int] = []

            async def ask(number: int) -> None:
                async with Client.to(proxy.port) as client:
                    assert await asks(client, number)
                    served.append(number)

            async with trio.open_nursery() as nursery:
                for number in range(CLIENTS):
                    nursery.start_soon(ask, number)
                # those of the second are served, and only those of the first wait
                while not served or len(owners([second], proxy.port)) > 0:  # noqa: ASYNC110
                    await trio.sleep(0.01)
                waiting = CLIENTS - len(served)
                assert waiting > 0
                os.kill(first, signal.SIGKILL)
            assert sorted(served) == list(range(CLIENTS))
        finally:
            with suppress(ProcessLookupError):
                os.kill(first, signal.SIGCONT)


async def test_a_worker_killed_under_load_is_replaced(tmp_path: Path) -> None:
    async with proxy_with(tmp_path, 2) as proxy:
        pids = await worker_pids(proxy)
        load = Load()
        async with trio.open_nursery() as nursery:
            os.kill(pids[0], signal.SIGKILL)
            await proxy.wait_log("worker_ended", pid=pids[0])
            # from now on nobody is lost: the neighbour has its sockets, then its successor
            for name in range(8):
                nursery.start_soon(keep_asking, proxy.port, load, name)
            nursery.start_soon(keep_shaking_hands, proxy.port, load)
            while len(now := await worker_pids(proxy)) < 2 or load.requests < 200:  # noqa: ASYNC110
                await trio.sleep(0.05)
            load.ending = True
        assert pids[1] in now
        assert pids[0] not in now


async def test_a_worker_that_is_asked_to_end_by_hand_is_replaced_without_a_loss(tmp_path: Path) -> None:
    async with proxy_with(tmp_path, 1) as proxy:
        (pid,) = await worker_pids(proxy)
        load = Load()
        async with trio.open_nursery() as nursery:
            for name in range(8):
                nursery.start_soon(keep_asking, proxy.port, load, name)
            nursery.start_soon(keep_shaking_hands, proxy.port, load)
            os.kill(pid, signal.SIGTERM)
            line = await proxy.wait_log("worker_ended", pid=pid)
            load.ending = True
        assert line["exit_code"] == 0
        assert load.reconnects == 8
        assert await worker_pids(proxy) != [pid]


async def test_a_worker_whose_loop_hangs_is_found_and_replaced(tmp_path: Path) -> None:
    async with proxy_with(tmp_path, 2) as proxy:
        pids = await worker_pids(proxy)
        os.kill(pids[0], signal.SIGSTOP)
        await proxy.wait_log("worker_stuck", pid=pids[0])
        line = await proxy.wait_log("worker_ended", pid=pids[0])
        assert line["exit_code"] < 0
        async with Client.to(proxy.port) as client:
            assert await asks(client, 0)


async def test_when_the_supervisor_is_killed_its_workers_let_go_of_the_ports_and_finish_what_is_open(
    tmp_path: Path,
) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            routes = {"/": f"http://127.0.0.1:{http}"}
            listener = "127.0.0.1:0"
            config = write_config(tmp_path, routes, top=TWO, listener=listener)
            async with running(config, killed=True) as proxy:
                pids = await worker_pids(proxy)
                async with Client.to(proxy.port) as events, aclosing(events.parts()) as parts:
                    await events.start("/events")
                    await anext(parts)
                    proxy.process.kill()
                    await proxy.process.wait()
                    # the next start has the very port, while the old workers still serve what is open
                    again = write_config(tmp_path, routes, top=TWO, listener=f"127.0.0.1:{proxy.port}")
                    async with running(again) as next_proxy:
                        assert next_proxy.port == proxy.port
                        assert set(await worker_pids(next_proxy)).isdisjoint(pids)
                        await anext(parts)
                        async with Client.to(proxy.port) as client:
                            assert await asks(client, 0)
                while any(map(is_alive, pids)):  # noqa: ASYNC110
                    await trio.sleep(0.05)
