"""One check: what passes, what doesn't, and what is said of it; against real services."""

from __future__ import annotations

import errno
import socket
from functools import partial

import pytest
import trio

from tests.devices import Device, a_device
from tests.forwarding import Place
from tlsproxy import policy_health
from tlsproxy.net.dial import Dialler
from tlsproxy.upstream.probe import RESULTS, Outcome, probe, request_for

REQUEST = request_for("127.0.0.1:3000", "/healthz")


async def check(device: Device, timeout_s: float = 30.0, wanted: tuple[str, ...] = ("2xx",)) -> Outcome:
    place = (
        Place("unix", path=str(device.unix))
        if device.unix is not None
        else Place("http", "127.0.0.1", device.port)
    )
    with trio.fail_after(60):
        outcome = await probe(Dialler(place, connect_s=timeout_s), REQUEST, timeout_s, wanted)
    assert outcome.result in RESULTS
    return outcome


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_service_that_answers_passes_and_sees_an_orderly_request_of_its_own(tmp_path, kind):
    async with a_device(tmp_path / "api.sock" if kind == "unix" else None) as device:
        assert (await check(device)).result == "passed"
        (head,) = device.heads
        lines = head.split(b"\r\n")
        assert lines[0] == b"GET /healthz HTTP/1.1"
        assert b"Host: 127.0.0.1:3000" in lines
        assert b"Connection: close" in lines


@pytest.mark.parametrize(
    ("status", "wanted", "result"),
    [
        (200, ("2xx",), "passed"),
        (204, ("200",), "status"),
        (301, ("2xx", "301"), "passed"),
        (404, ("2xx",), "status"),
        (503, ("2xx",), "status"),
    ],
)
async def test_the_status_decides(status, wanted, result):
    async with a_device(status=status) as device:
        outcome = await check(device, wanted=wanted)
    assert outcome.result == result
    assert outcome.words == ("" if result == "passed" else f"the check is answered {status}")


async def test_an_interim_response_is_no_answer():
    async with a_device(head=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", status=503) as device:
        assert (await check(device)).words == "the check is answered 503"


async def test_what_is_no_http_is_no_answer():
    async with a_device(head=b"SSH-2.0-OpenSSH_9\r\n") as device:
        assert (await check(device)).result == "protocol"


async def test_an_answer_without_end_is_given_up():
    async with a_device(head=b"HTTP/1.1 103 Hint\r\n" + b"X: y\r\n" * 20_000) as device:
        assert (await check(device)) == Outcome("protocol", "its answer has no end")


async def test_a_service_that_is_gone_is_unreachable():
    async with a_device() as device:
        await device.off()
        assert (await check(device)) == Outcome("unreachable", "it can't be reached: connection refused")


async def test_one_whose_socket_file_is_missing_too(tmp_path):
    async with a_device(tmp_path / "api.sock") as device:
        await device.off()
        (tmp_path / "api.sock").unlink()
        assert (await check(device)).words == "it can't be reached: no such file or directory"


async def test_one_that_accepts_and_hangs_has_timed_out():
    async with a_device(hangs=True) as device:
        assert (await check(device, timeout_s=0.05)) == Outcome("timeout", "no answer within 0.05 s")


async def test_one_that_never_accepts_has_timed_out():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, trio.fail_after(60):
        waiting = []
        for _ in range(3):  # the backlog, and what the kernel allows beyond it
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            waiting.append(sock)
        place = Place("http", "127.0.0.1", full.getsockname()[1])
        outcome = await probe(Dialler(place, connect_s=0.05), REQUEST, 0.05, ("2xx",))
        for sock in waiting:
            sock.close()
    assert outcome.result == "timeout"


async def test_one_that_ends_the_connection_has_not_answered():
    async def slam(listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(listener)
            listener.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as listener, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slam, listener)
            place = Place("http", "127.0.0.1", listener.getsockname()[1])
            outcome = await probe(Dialler(place), REQUEST, 30.0, ("2xx",))
            nursery.cancel_scope.cancel()
    assert outcome == Outcome("broken", "it ends the connection without an answer")


async def test_a_body_that_never_ends_is_not_waited_for_beyond_the_time_and_the_check_has_passed():
    async def endless(listener: socket.socket) -> None:
        listener.setblocking(False)
        await trio.lowlevel.wait_readable(listener)
        with listener.accept()[0] as sock:
            sock.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            await trio.sleep_forever()

    with socket.create_server(("127.0.0.1", 0)) as listener, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endless, listener)
            place = Place("http", "127.0.0.1", listener.getsockname()[1])
            outcome = await probe(Dialler(place), REQUEST, 2.0, ("2xx",))
            nursery.cancel_scope.cancel()
    assert outcome.result == "passed"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_what_we_lack_says_nothing_about_the_service(code):
    async def dial():
        raise OSError(code, "we have none left")

    assert (await probe(dial, REQUEST, 1.0, ("2xx",))).result == "skipped"


def test_a_check_may_not_be_made_into_load():
    assert policy_health.CHECK_TIMEOUT_S <= policy_health.CHECK_INTERVAL_S
    assert partial(request_for, "h")("/x").endswith(b"\r\n\r\n")
