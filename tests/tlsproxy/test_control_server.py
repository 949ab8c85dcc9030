"""The control API on a real socket, asked by its real client; the rest of the house is a small double."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest
import trio

from certstore import Bundle, Candidate, NotFound, Receipt, Source, State, StoreNotWritable, found
from tlsproxy.control import server
from tlsproxy.control.client import Client
from tlsproxy.control.values import MAX_BODY_BYTES, candidate_to_json
from tlsproxy.errors import ControlError, NotRunningError
from tlsproxy.observe.status import Place, Process, StoreFacts, describe

T = TypeVar("T")
AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CANDIDATE = Candidate((("device.pem", b"-----BEGIN\x00\xff"), ("key", b"")))


def _no_bundle(id_: str) -> Bundle:
    raise NotFound("bundle", id_)


@dataclass
class House:
    """The least controller: remembers what it was given, and can be told to fail."""

    receipts: list[Receipt] = field(default_factory=list)
    seen: list[tuple[Candidate, str]] = field(default_factory=list)
    failure: Exception | None = None
    reloads: int = 0

    def status(self) -> dict[str, object]:
        facts = StoreFacts(None, (), self.receipts[::-1], _no_bundle, clock_plausible=True)
        place = Place("/s", "/s/inbox", "/s/run/control.sock")
        return describe(facts, place=place, now=AT, process=Process(7, AT)).to_json()

    async def propose(self, candidate: Candidate, via: str) -> Receipt:
        await trio.lowlevel.checkpoint()
        if self.failure:
            raise self.failure
        self.seen.append((candidate, via))
        id_ = f"{len(self.receipts):06d}-0123abcd"
        findings = (found("candidate_empty"),)
        times = {State.RECEIVED: AT, State.REFUSED: AT}
        receipt = Receipt(id_, State.REFUSED, Source.CUSTOMER, via, None, None, findings, times)
        self.receipts.append(receipt)
        return receipt

    def receipt(self, id: str) -> Receipt:  # noqa: A002  the protocol's name
        for receipt in self.receipts:
            if receipt.id == id:
                return receipt
        raise NotFound("receipt", id)

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        await trio.lowlevel.checkpoint()
        return f"# {accept}\n".encode(), "text/plain; version=0.0.4"

    async def check_reload(self) -> int:
        await trio.lowlevel.checkpoint()
        if self.failure:
            raise self.failure
        return 2

    async def reload(self) -> None:
        self.reloads += 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
async def house(path: Path, nursery: trio.Nursery) -> AsyncIterator[House]:
    house = House()
    with trio.fail_after(30):
        await nursery.start(lambda task_status: server.run(path, house, task_status=task_status))
        yield house
        nursery.cancel_scope.cancel()


async def asked(path: Path, question: Callable[[Client], T]) -> T:
    """Ask in a thread, as the command line does in its own process."""

    def ask() -> T:
        with Client(path) as client:
            return question(client)

    with trio.fail_after(20):
        return await trio.to_thread.run_sync(ask)


async def raw(path: Path, method: str, target: str, content: bytes | None = None) -> httpx2.Response:
    def ask() -> httpx2.Response:
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://x") as client:
            return client.request(method, target, content=content)

    with trio.fail_after(20):
        return await trio.to_thread.run_sync(ask)


async def test_a_candidate_arrives_byte_for_byte_and_its_receipt_comes_back(path: Path, house: House) -> None:
    receipt = await asked(path, lambda client: client.propose(CANDIDATE, "cli"))
    assert house.seen == [(CANDIDATE, "cli")]
    assert receipt == house.receipts[0]
    assert await asked(path, lambda client: client.receipt(receipt.id)) == receipt


async def test_the_status_is_the_same_value_on_both_sides(path: Path, house: House) -> None:
    status = await asked(path, Client.status)
    assert status.process == Process(7, AT)
    assert {**status.to_json()} == house.status()


async def test_the_receipts_are_listed_newest_first(path: Path, house: House) -> None:
    for _ in range(3):
        await house.propose(CANDIDATE, "cli")
    listed = (await raw(path, "GET", "/v1/receipts")).json()["receipts"]
    assert [one["id"] for one in listed] == [receipt.id for receipt in reversed(house.receipts)]


async def test_an_unknown_receipt_is_an_error_in_words(path: Path, house: House) -> None:
    with pytest.raises(ControlError, match="there is no receipt 000007-0123abcd") as caught:
        await asked(path, lambda client: client.receipt("000007-0123abcd"))
    assert "pruned" in caught.value.hint


async def test_what_the_disk_refuses_is_told_with_its_hint(path: Path, house: House) -> None:
    house.failure = StoreNotWritable(Path("/s/active"), "no space left on device")
    with pytest.raises(ControlError, match="no space left") as caught:
        await asked(path, lambda client: client.propose(CANDIDATE, "cli"))
    assert "free space" in caught.value.hint


@pytest.mark.parametrize(
    ("method", "target", "content", "status", "code"),
    [
        ("GET", "/v1/nothing", None, 404, "no_such_page"),
        ("DELETE", "/v1/status", None, 405, "method_not_allowed"),
        ("GET", "/v1/receipts/x", None, 404, "not_found"),
        ("POST", "/v1/candidates", b"", 400, "bad_request"),
        ("POST", "/v1/candidates", b"[" * 100_000, 400, "bad_request"),
        ("POST", "/v1/candidates", b'{"files": []}', 400, "bad_request"),
        ("POST", "/v1/candidates", b'{"files": [{"name": "a", "content_base64": "!"}]}', 400, "bad_request"),
        (
            "POST",
            "/v1/candidates",
            b'{"files": [{"name": "a", "content_base64": "\xff"}]}',
            400,
            "bad_request",
        ),
        ("POST", "/v1/candidates", b'{"files": [{"name": "a", "path": "/etc/x"}]}', 400, "bad_request"),
        ("POST", "/v1/candidates", b"x" * (MAX_BODY_BYTES + 1), 413, "file_too_large"),
    ],
)
async def test_errors_are_problem_documents_with_a_code(
    path: Path, house: House, method: str, target: str, content: bytes | None, status: int, code: str
) -> None:
    answer = await raw(path, method, target, content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["title"]
    assert not house.seen


async def test_a_via_that_would_break_a_log_line_is_refused(path: Path, house: House) -> None:
    with pytest.raises(ControlError, match="can't be read"):
        await asked(path, lambda client: client.propose(CANDIDATE, "a\nb"))


async def test_a_fault_of_ours_is_one_answer_and_the_api_lives_on(path: Path, house: House) -> None:
    house.failure = RuntimeError("a secret detail")
    answer = await raw(path, "POST", "/v1/candidates", good_body())
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    house.failure = None
    assert (await raw(path, "POST", "/v1/candidates", good_body())).status_code == 201


def good_body() -> bytes:
    return httpx2.Request("POST", "http://x", json=candidate_to_json(CANDIDATE, "cli")).read()


async def test_the_socket_is_for_its_owner_and_group_in_a_folder_of_its_owner(
    path: Path, house: House
) -> None:
    assert stat.S_IMODE((await trio.Path(path).stat()).st_mode) == 0o660
    assert stat.S_IMODE((await trio.Path(path.parent).stat()).st_mode) == 0o700


async def test_a_second_proxy_does_not_take_the_socket_of_a_living_one(path: Path, house: House) -> None:
    with pytest.raises(ControlError, match="another process listens there"), trio.fail_after(10):
        await server.run(path, house)
    assert (await asked(path, Client.status)).process is not None


async def test_the_socket_of_a_dead_process_is_replaced_and_removed_at_the_end(
    path: Path, nursery: trio.Nursery
) -> None:
    leave_dead_socket(path)
    with trio.fail_after(20):
        await nursery.start(lambda task_status: server.run(path, House(), task_status=task_status))
        await asked(path, Client.status)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            while nursery.child_tasks:
                await trio.lowlevel.checkpoint()
    assert not await trio.Path(path).exists()


def leave_dead_socket(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


async def test_a_file_in_the_way_is_left_alone(path: Path) -> None:
    await trio.Path(path.parent).mkdir()
    await trio.Path(path).write_text("precious")
    with pytest.raises(ControlError, match="no socket is in the way"), trio.fail_after(10):
        await server.run(path, House())
    assert await trio.Path(path).read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    await trio.Path(tmp_path).chmod(0o500)
    with pytest.raises(ControlError, match="permission denied") as caught, trio.fail_after(10):
        await server.run(tmp_path / "run" / "control.sock", House())
    assert "let the proxy's user write" in caught.value.hint


async def test_where_nobody_listens_no_proxy_runs(tmp_path: Path) -> None:
    leave_dead_socket(tmp_path / "dead.sock")
    await trio.Path(tmp_path / "file").touch()
    for name in ("absent.sock", "no/folder.sock", "dead.sock", "file/x.sock"):
        with pytest.raises(NotRunningError):
            await asked(tmp_path / name, Client.status)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", b"SSH-2.0-x\r\n", b""])
async def test_whatever_else_listens_there_is_told_in_words(
    tmp_path: Path, answer: bytes, nursery: trio.Nursery
) -> None:
    path = tmp_path / "odd.sock"
    listener = trio.socket.socket(socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen()

    async def odd() -> None:
        while True:
            connection, _ = await listener.accept()
            with connection:
                if await connection.recv(65_536):
                    await connection.send(answer)

    nursery.start_soon(odd)
    with pytest.raises(ControlError) as caught:
        await asked(path, Client.status)
    assert not isinstance(caught.value, NotRunningError)
    assert "\n" not in str(caught.value)
    nursery.cancel_scope.cancel()
    listener.close()
