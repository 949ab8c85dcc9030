"""The metrics port as strangers find it: a page in a browser, and who holds connections and asks nothing."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
from structlog.testing import capture_logs

from tlsproxy import policy
from tlsproxy.config.values import MetricsConfig
from tlsproxy.control import metrics_port

DEADLINE_S = 30


async def page(_accept: str) -> tuple[bytes, str]:
    return b"tlsproxy_up 1\n", "text/plain"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def serve(host: str) -> AsyncIterator[int]:
    port = free_port()
    with trio.fail_after(DEADLINE_S), capture_logs() as log:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metrics_port.run, MetricsConfig(f"{host}:{port}", host, port), page)
            while not log:
                await trio.lowlevel.checkpoint()
            yield port
            nursery.cancel_scope.cancel()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async for port in serve("127.0.0.1"):
        yield port


@pytest.fixture
async def open_port() -> AsyncIterator[int]:
    async for port in serve("0.0.0.0"):
        yield port


async def asked(port: int, host: str) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        request = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        answer = b""
        while data := await stream.receive_some():
            answer += data
    return answer


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9469", "localhost", "LOCALHOST.:9469", "[::1]:9469", "a.localhost"]
)
async def test_who_asks_by_an_address_or_as_localhost_is_answered(port: int, host: str) -> None:
    assert (await asked(port, host)).endswith(b"tlsproxy_up 1\n")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9469", "127.0.0.1.evil.example", "localhost.evil.example", ""]
)
async def test_a_page_in_a_browser_whose_name_leads_here_reads_no_metrics(port: int, host: str) -> None:
    """DNS rebinding: it read them."""
    answer = await asked(port, host)
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"tlsproxy_up" not in answer


async def test_where_others_are_let_in_on_purpose_they_may_call_it_as_they_like(open_port: int) -> None:
    assert (await asked(open_port, "device.example")).startswith(b"HTTP/1.1 200 ")


async def test_who_holds_connections_and_asks_nothing_keeps_nobody_from_the_metrics(port: int) -> None:
    """Sixteen silent connections shut Prometheus out, for as long as somebody liked."""
    held = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3 * policy.METRICS_CONNECTIONS)]
    for _ in range(3):
        assert (await asked(port, "127.0.0.1")).endswith(b"tlsproxy_up 1\n")
    for stream in held:
        await stream.aclose()
