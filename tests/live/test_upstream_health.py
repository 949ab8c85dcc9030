"""A device that is switched off and on behind a whole proxy: fast answers by every worker, and back again."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import trio
import trio_websocket

from tests.devices import Device, a_device
from tests.live.https_client import Answer, Client, trusting_nobody
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_metrics import scraped

DEADLINE_S = 180
CLIENTS = 24  # so many fall to one of two workers by chance once in eight million times
CHECK = 'health_check = { path = "/healthz", interval_s = 1, timeout_s = 1, rise = 2, fall = 3 }'
BREAKER = "breaker = { failures = 2, within_s = 60, down_s = 1 }"


@dataclass
class Load:
    """What clients on connections of their own, which they keep, were answered last; any surprise raises."""

    clients: dict[int, Client] = field(default_factory=dict)
    ending: bool = False
    asked: int = 0
    last: dict[int, Answer] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    async def keep_asking(self, number: int) -> None:
        while not self.ending:
            answer = await self.clients[number].get(f"/{number}")
            assert answer.headers.get(b"connection") != b"close"
            self.last[number] = answer
            self.seen.add(answer.status)
            self.asked += 1
            await trio.sleep(0.1)

    async def wait_all(self, status: int) -> None:
        """Wait until everybody gets this."""
        while {answer.status for answer in self.last.values()} != {status}:  # noqa: ASYNC110  answers come by themselves
            await trio.sleep(0.01)


@asynccontextmanager
async def under_load(proxy: Proxy) -> AsyncIterator[Load]:
    load = Load()
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            load.clients[number] = await stack.enter_async_context(Client.to(proxy.port))
            load.last[number] = await load.clients[number].get("/")
            nursery.start_soon(load.keep_asking, number)
        yield load
        load.ending = True


@asynccontextmanager
async def proxy_before(folder: Path, device: Device, health: str) -> AsyncIterator[Proxy]:
    config = write_config(folder, {"/": device.upstream}, top="workers = 2")
    line = f'upstream = "{device.upstream}"'
    config.write_text(config.read_text().replace(line, f"{line}\n{health}"))
    async with running(config) as proxy:
        yield proxy


def lines(proxy: Proxy, event: str) -> list[dict[str, Any]]:
    return [line for line in proxy.log if line.get("event") == event]


async def told(proxy: Proxy, target: str) -> dict[str, Any]:
    """Ask the control socket."""

    def ask() -> httpx2.Response:
        transport = httpx2.HTTPTransport(uds=str(proxy.store / "run" / "control.sock"))
        with httpx2.Client(transport=transport, base_url="http://tlsproxy") as client:
            return client.get(target)

    answer = await trio.to_thread.run_sync(ask)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def status(proxy: Proxy) -> dict[str, Any]:
    return await told(proxy, "/v1/status")


async def reloaded(proxy: Proxy) -> None:
    """Have it execute itself anew; that takes as long as a busy machine takes."""
    since = len(proxy.log)
    proxy.process.send_signal(signal.SIGHUP)
    while not any(line.get("event") == "reloaded" for line in proxy.log[since:]):
        await proxy.grew.wait()


def assert_fast(load: Load) -> None:
    """Everybody is told when to come again, in the way of all our answers."""
    for answer in load.last.values():
        assert answer.status == 503
        assert 1 <= int(answer.headers[b"retry-after"]) <= 10
        assert b'"upstream_down"' in answer.body


async def test_a_device_that_is_switched_off_under_load_is_refused_in_every_worker_and_served_again(tmp_path):
    with trio.fail_after(DEADLINE_S):
        async with a_device() as device, proxy_before(tmp_path, device, CHECK) as proxy:
            async with under_load(proxy) as load:
                await load.wait_all(200)
                (up,) = (await status(proxy))["upstreams"]
                assert (up["upstream"], up["routes"], up["up"]) == (device.upstream, ["/"], True)

                await device.off()
                line = await proxy.wait_log("upstream_down")
                assert line["why"] == "it can't be reached: connection refused"
                await load.wait_all(503)
                assert_fast(load)
                (down,) = (await status(proxy))["upstreams"]
                assert (down["up"], down["check_up"], down["why"]) == (False, False, line["why"])
                answer = await told(proxy, "/v1/health")
                assert answer["ready"]
                assert "upstream_down" in [one["code"] for one in answer["findings"]]
                words = (await tlsproxy("status", "--store", str(proxy.store))).stdout.decode()
                assert f"upstream     {device.upstream} (/): DOWN since " in words
                asked = len(device.asked)

                await device.on()
                await proxy.wait_log("upstream_up")
                await load.wait_all(200)
                assert device.asked[asked : asked + 2] == ["GET /healthz HTTP/1.1"] * 2, "checks went first"
                assert "upstream_down" not in [
                    one["code"] for one in (await told(proxy, "/v1/health"))["findings"]
                ]
            assert load.seen <= {200, 502, 503}
            assert [len(lines(proxy, event)) for event in ("upstream_down", "upstream_up")] == [1, 1]
            found = await scraped(proxy)
            assert found["tlsproxy_upstream_up"] == {(device.upstream, "/"): 1}
            assert found["tlsproxy_upstream_refusals_total"][device.upstream, "/", "down"] >= CLIENTS
            assert found["tlsproxy_upstream_checks_total"][device.upstream, "unreachable"] >= 2


async def test_workers_that_are_born_while_it_is_down_know_it_and_a_reload_forgets_nothing(tmp_path):
    with trio.fail_after(DEADLINE_S):
        async with a_device() as device, proxy_before(tmp_path, device, CHECK) as proxy:
            await device.off()
            await proxy.wait_log("upstream_down")
            (down,) = (await status(proxy))["upstreams"]

            async def ask_newcomers() -> set[int]:
                statuses = set()
                for _ in range(CLIENTS):
                    async with Client.to(proxy.port) as client:
                        statuses.add((await client.get("/")).status)
                return statuses

            victim = (await status(proxy))["workers"][0]["pid"]
            os.kill(victim, signal.SIGKILL)
            await proxy.wait_log("worker_ended", pid=victim)
            while len([w for w in (await status(proxy))["workers"] if w["stage"] == "accepting"]) < 2:  # noqa: ASYNC110  another process
                await trio.sleep(0.01)
            assert await ask_newcomers() == {503}
            await reloaded(proxy)
            assert await ask_newcomers() == {503}
            (after,) = (await status(proxy))["upstreams"]
            assert (after["up"], after["since"]) == (False, down["since"])
            assert len(lines(proxy, "upstream_down")) == 1

            # what is configured can be changed by a reload, too: now it is asked whatever happens
            config = tmp_path / "tlsproxy.toml"
            config.write_text(config.read_text().replace(CHECK, ""))
            await reloaded(proxy)
            while await ask_newcomers() != {502}:  # an old worker may accept a last one
                pass
            assert (await status(proxy))["upstreams"] == []


async def test_each_worker_leaves_a_dead_device_alone_by_itself_and_asks_again_after_a_while(tmp_path):
    with trio.fail_after(DEADLINE_S):
        async with a_device() as device, proxy_before(tmp_path, device, BREAKER) as proxy:
            async with under_load(proxy) as load:
                await load.wait_all(200)
                await device.off()
                line = await proxy.wait_log("upstream_down")
                assert line["why"] == "requests to it fail: it can't be reached"
                while (await status(proxy))["upstreams"][0]["breakers_open"] < 2:  # noqa: ASYNC110  another process
                    await trio.sleep(0.01)
                await load.wait_all(503)  # between two trials, everybody at once
                assert_fast(load)
                await device.on()
                await proxy.wait_log("upstream_up")
                await load.wait_all(200)
            assert [len(lines(proxy, event)) for event in ("upstream_down", "upstream_up")] == [1, 1]


async def test_a_websocket_lives_on_while_checks_fail_and_hang(tmp_path):
    with trio.fail_after(DEADLINE_S):
        async with (
            a_device() as device,
            proxy_before(tmp_path, device, CHECK) as proxy,
            trio_websocket.open_websocket("127.0.0.1", proxy.port, "/", use_ssl=trusting_nobody()) as socket,
        ):

            async def talk(word: str) -> None:
                await socket.send_message(word)
                assert await socket.get_message() == word

            await talk("before")
            device.status = 503
            assert (await proxy.wait_log("upstream_down"))["why"] == "the check is answered 503"
            async with Client.to(proxy.port) as client:
                assert (await client.get("/")).headers[b"retry-after"]
            await talk("while down")
            device.status = 200
            await proxy.wait_log("upstream_up")
            since = len(proxy.log)
            device.hangs = True
            assert (await proxy.wait_log("upstream_down", since=since))["why"] == "no answer within 1 s"
            await talk("while it hangs")
            device.hangs = False
            await proxy.wait_log("upstream_up", since=since)
            await talk("after")


async def test_a_device_behind_a_socket_file_is_checked_alike(tmp_path):
    with trio.fail_after(DEADLINE_S):
        unix = tmp_path / "api.sock"
        async with a_device(unix) as device, proxy_before(tmp_path, device, CHECK) as proxy:
            unix.chmod(0o666)
            await device.off()
            await proxy.wait_log("upstream_down")
            async with Client.to(proxy.port) as client:
                assert (await client.get("/")).status == 503
            await device.on()
            unix.chmod(0o666)
            await proxy.wait_log("upstream_up")
            async with Client.to(proxy.port) as client:
                assert (await client.get("/")).status == 200
