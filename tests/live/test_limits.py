"""Under load beyond the limits: those inside are served on, and those who only hold places give way."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, write_config

LORISES = 5000
# What each of them sends before it falls silent: nothing, a hello's beginning, plain HTTP without an end.
PHASES = (b"", bytes.fromhex("16030102000100"), b"GET / HTTP/1.1\r\nHost: dev")
LIMITS = "[limits]\nconnections = 1000\nconnections_per_address = 800\nhandshakes = 300\n"


@contextmanager
def descriptors(wanted: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine gives {hard} descriptors, the test needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def open_loris(proxy: Proxy, number: int, held: ExitStack) -> None:
    """Connect from one of fifty addresses, say a little, and then nothing more."""
    sock = trio.socket.socket()
    held.callback(sock.close)
    await sock.bind((f"127.0.1.{number % 50 + 1}", 0))
    await sock.connect(("127.0.0.1", proxy.port))
    if first := PHASES[number % len(PHASES)]:
        await sock.send(first)


async def keep_asking(proxy: Proxy, done: trio.Event, served: list[int]) -> None:
    """Ask on one connection for as long as the attack lasts, and by new connections beside it."""
    async with Client.to(proxy.port) as kept:
        while not done.is_set():
            assert (await kept.get("/kept")).status == 200
            async with Client.to(proxy.port) as new:
                assert (await new.get("/new")).status == 200
            served.append(1)


@pytest.mark.slow
async def test_five_thousand_slow_connections_dont_keep_others_out(tmp_path):
    served: list[int] = []
    with descriptors(LORISES + 1000), ExitStack() as held, trio.fail_after(180):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, more=LIMITS)
            async with running(config) as proxy, trio.open_nursery() as nursery:
                done = trio.Event()
                for _ in range(4):
                    nursery.start_soon(keep_asking, proxy, done, served)
                for number in range(LORISES):
                    await open_loris(proxy, number, held)
                at_the_end = len(served)
                while len(served) < at_the_end + 20:  # noqa: ASYNC110  others are served on
                    await trio.sleep(0.01)
                done.set()
    assert len(served) > 20


ONE = "workers = 1"  # so that a limit is not shared out


async def test_an_address_above_its_share_is_told_quickly_and_others_are_served(tmp_path):
    more = "[limits]\nconnections_per_address = 3\n"
    with trio.fail_after(60):
        async with (
            http_service() as http,
            running(write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, more=more, top=ONE)) as proxy,
        ):
            held = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(3)]
            one_too_many = await trio.open_tcp_stream("127.0.0.1", proxy.port)
            async with one_too_many:
                assert await one_too_many.receive_some() == bytes.fromhex("15030300020250")
            await proxy.wait_log("address_full")
            for sock in held:
                sock.close()
            await wait_served(proxy)


async def wait_served(proxy: Proxy) -> None:
    """Ask until the proxy has noticed that there is room again; a deadline stands around it."""
    while True:
        try:
            async with Client.to(proxy.port) as client:
                assert (await client.get("/")).status == 200
                return
        except trio.BrokenResourceError:
            continue


@pytest.mark.slow
async def test_a_shortage_of_descriptors_passes(tmp_path):
    with ExitStack() as held, trio.fail_after(120):
        async with (
            http_service() as http,
            running(
                write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top=ONE),
                before=("prlimit", "--nofile=64:64"),
            ) as proxy,
        ):
            for _ in range(100):
                held.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
            await proxy.wait_log("accept_exhausted")
            held.close()
            async with Client.to(proxy.port) as client:
                assert (await client.get("/")).status == 200


async def test_requests_that_fail_by_the_thousand_leave_few_lines_in_the_log(tmp_path):
    """The upstream is down, and the client chooses long paths."""
    with trio.fail_after(60):
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top=ONE)
        async with running(config) as proxy, Client.to(proxy.port) as client:
            for _ in range(300):
                assert (await client.get("/" + "a" * 3000)).status == 502
        told = [line for line in proxy.log if line["event"] == "exchange_failed"]
        assert len(told) == 20
        assert {len(line["path"]) for line in told} == {200}
