"""Plain HTTP is told to come again by https, request by request."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tlsproxy.forward.redirect import RedirectingClient
from tlsproxy.net.stream import SocketStream
from tlsproxy.net.sweeper import Sweeper

GET = b"GET /path?query HTTP/1.1\r\nHost: device.test\r\n\r\n"


@asynccontextmanager
async def client(
    *, first: bytes = b"", once: bool = False
) -> AsyncIterator[tuple[trio.SocketStream, Sweeper]]:
    ours, theirs = socket.socketpair()
    sweeper = Sweeper()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))

    async def serve() -> None:
        with ours:
            await RedirectingClient(SocketStream(ours), 8443, sweeper).serve(first, once=once)

    with trio.fail_after(10):
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield stream, sweeper
            nursery.cancel_scope.cancel()
    assert len(sweeper) == 0


async def receive_to_end(stream: trio.SocketStream) -> bytes:
    return b"".join([part async for part in stream])


async def test_two_requests_on_one_connection_are_both_redirected():
    async with client() as (stream, _):
        for _ in range(2):
            await stream.send_all(GET)
            answer = await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 301 ")
            assert b"Location: https://device.test:8443/path?query\r\n" in answer


async def test_what_was_read_on_the_tls_port_is_answered_and_the_connection_ends():
    async with client(first=GET, once=True) as (stream, _):
        answer = await receive_to_end(stream)
    assert answer.startswith(b"HTTP/1.1 301 ")
    assert b"Connection: close\r\n" in answer


async def test_the_answer_to_a_giant_head_is_not_overtaken_by_a_reset():
    async with client() as (stream, _), trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"GET / HTTP/1.1\r\nX: " + b"x" * 500_000)
        assert (await receive_to_end(stream)).startswith(b"HTTP/1.1 431 ")


async def test_a_posts_body_is_read_past_and_the_method_kept():
    async with client() as (stream, _):
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: device.test\r\nContent-Length: 5\r\n\r\nhello" + GET)
        answer = b""
        while answer.count(b"HTTP/1.1 ") < 2:
            answer += await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 308 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.test/@\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_what_nobody_can_be_sent_to_gets_400_and_an_end(request_):
    async with client() as (stream, _):
        await stream.send_all(request_)
        answer = await receive_to_end(stream)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Location" not in answer


async def test_an_http_1_0_client_gets_its_answer_and_an_end():
    async with client() as (stream, _):
        await stream.send_all(b"GET / HTTP/1.0\r\nHost: device.test\r\n\r\n")
        assert (await receive_to_end(stream)).startswith(b"HTTP/1.1 301 ")


async def test_a_client_that_never_ends_its_request_is_closed_by_the_sweeper():
    async with client() as (stream, sweeper):
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: dev")
        await trio.testing.wait_all_tasks_blocked(0.01)
        sweeper.sweep(trio.current_time() + 3600)
        assert await receive_to_end(stream) == b""
