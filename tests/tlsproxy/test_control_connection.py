"""A connection to the control socket within its bounds: slow, silent, greedy and broken peers; strangers."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import h11
import httpx2
import pytest
import trio
import trio.lowlevel
from structlog.testing import capture_logs

from tests.controlling import DEADLINE_S, Api, control_api
from tests.pki import Pki
from tests.storing import candidate_of
from tlsproxy import policy
from tlsproxy.control.peers import Access
from tlsproxy.control.values import candidate_to_json

SOON_S = 0.05
LIVE = b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
TWO_LENGTHS = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
UPLOAD = (
    b"POST /v1/candidates HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


async def read_to_end(stream: trio.SocketStream) -> bytes:
    got = b""
    with trio.fail_after(DEADLINE_S):
        try:
            while data := await stream.receive_some():
                got += data
        except trio.BrokenResourceError:
            pass
    return got


def answers(data: bytes, *methods: str) -> list[tuple[int, bytes]]:
    """Read the answers to requests of these methods."""
    found = []
    reader = h11.Connection(h11.CLIENT)
    reader.receive_data(data)
    for method in methods:
        reader.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        reader.send(h11.EndOfMessage())
        head, body = reader.next_event(), b""
        assert isinstance(head, h11.Response), head
        while isinstance(event := reader.next_event(), h11.Data):
            body += event.data
        found.append((head.status_code, body))
        if reader.our_state is h11.DONE and reader.their_state is h11.DONE:
            reader.start_next_cycle()
    return found


def code_of(data: bytes) -> tuple[int, str]:
    ((status, body),) = answers(data, "GET")
    return status, json.loads(body)["code"]


@pytest.mark.parametrize(
    ("limit", "sent", "status", "code"),
    [
        ("CONTROL_HEADER_S", LIVE[:20], 408, "request_timeout"),
        ("CONTROL_BODY_S", UPLOAD + b"{", 408, "request_timeout"),
    ],
)
async def test_who_stops_amidst_a_request_is_told_so_and_shown_out(
    api: Api, monkeypatch: pytest.MonkeyPatch, limit: str, sent: bytes, status: int, code: str
) -> None:
    monkeypatch.setattr(policy, limit, SOON_S)
    stream = await api.connect()
    async with stream:
        await stream.send_all(sent)
        assert code_of(await read_to_end(stream)) == (status, code)


async def test_who_says_nothing_at_all_is_shown_out_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "CONTROL_IDLE_S", SOON_S)
    async with control_api(tmp_path) as api, await api.connect() as stream:
        assert await read_to_end(stream) == b""


async def test_who_does_not_read_is_cut_and_holds_up_neither_others_nor_the_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "CONTROL_SEND_S", SOON_S)
    asked = 100
    async with await api.connect() as stream:
        await stream.send_all(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * asked)
        assert (await api.ask("GET", "/v1/health/live")).status_code == 200
        got = await read_to_end_late(api, stream)
    assert 0 < got.count(b"HTTP/1.1 200") < asked


async def read_to_end_late(api: Api, stream: trio.SocketStream) -> bytes:
    """Read only once the other side has given up: a send of ours fails then."""
    with trio.fail_after(DEADLINE_S):
        try:
            while True:
                await stream.send_all(b"x")
                await trio.lowlevel.checkpoint()
        except trio.BrokenResourceError:
            pass
    return await read_to_end(stream)


async def test_a_peer_that_neither_reads_nor_leaves_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with control_api(tmp_path) as api:
        stream = await api.connect()
        await stream.send_all(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        assert (await api.ask("GET", "/v1/health/live")).status_code == 200
    await stream.aclose()


async def test_requests_follow_each_other_over_one_connection_and_pipelined(api: Api) -> None:
    head = LIVE.replace(b"GET", b"HEAD")
    async with await api.connect() as stream:
        await stream.send_all(LIVE + head + LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        got = await read_to_end(stream)
    live = b'{"live":true}'
    assert answers(got, "GET", "HEAD", "GET") == [(200, live), (200, b""), (200, live)]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST /v1/reload HTTP/1.1\r\nHost: x\r\n" + TWO_LENGTHS + b"\r\n0\r\n\r\n", 400),
        (b"GET /v1/status HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * policy.CONTROL_HEAD_BYTES, 431),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
    ],
)
async def test_what_is_no_http_1_request_is_a_problem_document_and_the_end(
    api: Api, sent: bytes, status: int
) -> None:
    async with await api.connect() as stream:
        await stream.send_all(sent)
        got = await read_to_end(stream)
    assert answers(got, "GET")[0][0] == status
    assert b"application/problem+json" in got
    assert (await api.ask("GET", "/v1/health/live")).status_code == 200


async def test_http_2_is_not_spoken_whoever_offers_it(api: Api) -> None:
    headers = {"upgrade": "h2c", "connection": "upgrade, http2-settings", "http2-settings": "AAMAAABk"}
    answer = await api.ask("GET", "/v1/health/live", headers=headers)
    assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")


async def test_an_answer_that_needs_no_body_comes_though_a_large_one_is_sent(api: Api) -> None:
    answer = await api.ask("POST", "/v1/status", content=b"x" * 4_000_000)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_who_leaves_amidst_a_change_gets_it_all_the_same(api: Api, pki: Pki) -> None:
    body = json.dumps(candidate_to_json(candidate_of(pki.leaf()), "cli")).encode()
    async with await api.connect() as stream:
        await stream.send_all(UPLOAD.replace(b"100", str(len(body)).encode()) + body)
    with trio.fail_after(DEADLINE_S):
        while not api.store.receipts() or not api.store.receipts()[0].is_settled:
            await trio.lowlevel.checkpoint()
    assert api.store.active is not None


@pytest.mark.parametrize(
    "sent", [UPLOAD + b"{", UPLOAD.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked") + b"zz\r\n"]
)
async def test_who_leaves_or_breaks_off_amidst_a_body_is_no_fault_of_ours(
    tmp_path: Path, sent: bytes
) -> None:
    """Each time a traceback was logged as an error."""
    with capture_logs() as log:
        async with control_api(tmp_path) as api:
            async with await api.connect() as stream:
                await stream.send_all(sent)
                await stream.send_eof()
                await read_to_end(stream)
            assert (await api.ask("GET", "/v1/health/live")).status_code == 200
    assert "control_fault" not in [line["event"] for line in log]


async def test_too_many_of_one_kind_are_told_to_come_again(tmp_path: Path) -> None:
    async with control_api(tmp_path) as api:
        streams = [await api.connect() for _ in range(policy.CONTROL_CONNECTIONS)]
        for stream in streams:  # each is surely accepted once it was answered
            await stream.send_all(LIVE)
            await stream.receive_some()
        answer = await api.ask("GET", "/v1/health/live")
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")
        assert answer.headers["retry-after"] == "1"
        await streams[0].aclose()
        with trio.fail_after(DEADLINE_S):
            while (await api.ask("GET", "/v1/health/live")).status_code != 200:
                pass
        for stream in streams:
            await stream.aclose()


# --- strangers


AS_WEBSOCKET = [
    *("-H", "Connection: upgrade", "-H", "Upgrade: websocket"),
    *("-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
]
FindTool = Callable[[str], str]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that everybody may pass through."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


async def ask_as_nobody(tool: FindTool, path: Path, *words: str) -> httpx2.Response:
    """Ask by curl as a user whom nobody knows; where we aren't root, as ourselves."""
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": 65534, "group": 65534, "extra_groups": []}
    curl = str(tool("curl"))
    command = [curl, "-sS", "-i", "--max-time", "20", "--unix-socket", str(path), *words]
    with trio.fail_after(DEADLINE_S):
        done = await trio.to_thread.run_sync(
            lambda: subprocess.run(command, capture_output=True, check=False, **user)
        )
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return httpx2.Response(status, headers=list(fields.items()), content=body)


async def test_an_unknown_peer_is_answered_403_whatever_it_asks(open_folder: Path, tool: FindTool) -> None:
    async with control_api(open_folder, Access(mode=0o666, own=4711)) as api:
        await trio.Path(api.path.parent).chmod(0o755)
        for words in (
            ["http://x/v1/status"],
            ["-X", "POST", "http://x/v1/reload"],
            ["-d", "x" * 100_000, "http://x/v1/candidates"],
            [*AS_WEBSOCKET, "http://x/v1/events"],
        ):
            answer = await ask_as_nobody(tool, api.path, *words)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), words
        assert (api.reloads.made, api.changes.seen) == (0, [])


async def test_a_configured_user_is_answered(open_folder: Path, tool: FindTool) -> None:
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    async with control_api(open_folder, Access(frozenset({user}), mode=0o666, own=4711)) as api:
        assert stat.S_IMODE((await trio.Path(api.path.parent).stat()).st_mode) == 0o755
        assert (await ask_as_nobody(tool, api.path, "http://x/v1/status")).status_code == 200
