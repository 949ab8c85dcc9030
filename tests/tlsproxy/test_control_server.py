"""The control API on a real socket over a real store, asked by its real client and by plain HTTP."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from certstore import Candidate, State, StoreNotWritable
from tests.controlling import (
    Api,
    Changes,
    Reloads,
    acme_of,
    control_api,
    controller_of,
    lookout_of,
    now,
    resetter_of,
)
from tests.pki import Pki
from tests.storing import candidate_of
from tlsproxy.control import server
from tlsproxy.control.backing import Backing
from tlsproxy.control.client import Client
from tlsproxy.control.peers import Access
from tlsproxy.control.values import MAX_BODY_BYTES, candidate_to_json
from tlsproxy.errors import ControlError, NotRunningError, ReloadError
from tlsproxy.provisioning import FactoryDesk

CANDIDATE = Candidate((("device.pem", b"-----BEGIN\x00\xff"), ("key", b"")))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


async def test_a_candidate_arrives_byte_for_byte_and_its_receipt_comes_back(api: Api) -> None:
    receipt = await api.client(lambda client: client.propose(CANDIDATE, "cli"))
    assert receipt.state is State.REFUSED
    ((candidate, via, _by),) = api.changes.seen
    assert (candidate, via) == (CANDIDATE, "cli")
    assert receipt == api.store.receipts()[0]
    assert await api.client(lambda client: client.receipt(receipt.id)) == receipt


async def test_who_asked_is_within_reach_of_whoever_makes_the_change(api: Api) -> None:
    await api.client(lambda client: client.propose(CANDIDATE, "cli"))
    ((_, _, by),) = api.changes.seen
    assert (by.pid, by.uid, by.gid) == (os.getpid(), os.geteuid(), os.getegid())


async def test_the_status_is_the_same_value_on_both_sides(api: Api) -> None:
    status = (await api.client(Client.status)).to_json()
    assert {**status, "at": None} == {**api.controller.status(), "at": None}


async def test_an_unknown_receipt_is_an_error_in_words(api: Api) -> None:
    with pytest.raises(ControlError, match="there is no receipt 000007-0123abcd") as caught:
        await api.client(lambda client: client.receipt("000007-0123abcd"))
    assert "pruned" in caught.value.hint


async def test_what_the_disk_refuses_is_told_with_its_hint(api: Api) -> None:
    api.changes.failure = StoreNotWritable(Path("/s/active"), "no space left on device")
    with pytest.raises(ControlError, match="no space left") as caught:
        await api.client(lambda client: client.propose(CANDIDATE, "cli"))
    assert "free space" in caught.value.hint


async def test_a_refused_reload_is_one_to_the_asking_side_too(api: Api) -> None:
    api.reloads.refusal = ReloadError("the file is wrong", "mend it")
    with pytest.raises(ReloadError, match="the reload was refused: the file is wrong") as caught:
        await api.client(Client.reload)
    assert caught.value.hint == "mend it"
    api.reloads.refusal = None
    assert await api.client(Client.reload) == 2


@pytest.mark.parametrize(
    ("method", "target", "content", "status", "code"),
    [
        ("GET", "/v1/nothing", None, 404, "no_such_page"),
        ("GET", "/v1/status/", None, 404, "no_such_page"),
        ("DELETE", "/v1/status", None, 405, "method_not_allowed"),
        ("GET", "/v1/receipts/x", None, 404, "not_found"),
        ("POST", "/v1/candidates", b"", 400, "bad_request"),
        ("POST", "/v1/candidates", b"[" * 100_000, 422, "invalid_body"),
        ("POST", "/v1/candidates", b'{"files": []}', 422, "invalid_body"),
        ("POST", "/v1/candidates", b'{"files": [{"name": "a", "content_base64": "!"}]}', 422, "invalid_body"),
        (
            "POST",
            "/v1/candidates",
            b'{"files": [{"name": "a", "content_base64": "\xff"}]}',
            400,
            "bad_request",
        ),
        ("POST", "/v1/candidates", b'{"files": [{"name": "a", "path": "/etc/x"}]}', 422, "invalid_body"),
        (
            "POST",
            "/v1/candidates",
            '{"files": [{"name": "a", "content_base64": "ü"}]}'.encode(),
            422,
            "invalid_body",
        ),
        (
            "POST",
            "/v1/candidates",
            b'{"files": [{"name": "a", "content_base64": ""}], "via": "x", "via": "y"}',
            422,
            "invalid_body",
        ),
        ("POST", "/v1/candidates", b"x" * (MAX_BODY_BYTES + 1), 413, "file_too_large"),
        ("POST", "/v1/candidates", b"x" * (9 * MAX_BODY_BYTES), 413, "file_too_large"),
        ("POST", "/v1/candidates?dry-run=true", b"{}", 422, "unknown_parameter"),
        ("POST", "/v1/candidates?dry_run=perhaps", b"{}", 422, "invalid_parameter"),
        ("GET", "/v1/receipts?limit=0", None, 422, "invalid_parameter"),
        ("GET", "/v1/receipts?limit=1&limit=2", None, 422, "invalid_parameter"),
    ],
)
async def test_errors_are_problem_documents_with_a_code(
    api: Api, method: str, target: str, content: bytes | None, status: int, code: str
) -> None:
    headers = {} if content is None else {"content-type": "application/json"}
    answer = await api.ask(method, target, content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["title"]
    assert document["detail"]
    assert not api.changes.seen


@pytest.mark.parametrize("via", ["a\nb", "a\n", "a b", "\x1b[2J"])
async def test_a_via_that_would_break_a_log_line_is_refused(api: Api, via: str) -> None:
    with pytest.raises(ControlError, match="doesn't fit"):
        await api.client(lambda client: client.propose(CANDIDATE, via))


async def test_a_fault_of_ours_is_one_answer_and_one_line_of_log_and_the_api_lives_on(
    api: Api, pki: Pki
) -> None:
    api.changes.failure = RuntimeError("a secret detail")
    body = candidate_to_json(candidate_of(pki.leaf()), "cli")
    with capture_logs() as logged:
        answer = await api.ask("POST", "/v1/candidates", json=body)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "secret" not in answer.text
        api.changes.failure = None
        assert (await api.ask("POST", "/v1/candidates", json=body)).status_code == 201
    assert [line["event"] for line in logged].count("control_fault") == 1


async def test_the_socket_is_for_its_owner_and_group_in_a_folder_of_its_owner(api: Api) -> None:
    assert stat.S_IMODE((await trio.Path(api.path).stat()).st_mode) == 0o660
    assert stat.S_IMODE((await trio.Path(api.path.parent).stat()).st_mode) == 0o700


async def test_where_others_may_ask_they_can_reach_the_socket(tmp_path: Path) -> None:
    group = os.getegid()
    async with control_api(tmp_path, Access(frozenset({65534}), frozenset({group}), 0o666)) as api:
        found = await trio.Path(api.path).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o666, group)
        assert stat.S_IMODE((await trio.Path(api.path.parent).stat()).st_mode) == 0o755


@pytest.mark.parametrize(("mode", "told"), [(0o700, 1), (0o711, 0), (0o710, 0)])
async def test_a_folder_that_keeps_out_who_may_ask_is_told(tmp_path: Path, mode: int, told: int) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    with capture_logs() as log:
        async with control_api(tmp_path, Access(frozenset({65534}), frozenset({os.getegid()}), 0o666)):
            pass
    assert [line["event"] for line in log].count("control_folder_closed") == told


async def test_where_others_may_ask_they_can_reach_the_socket_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        async with control_api(tmp_path, Access(frozenset({65534}), mode=0o666)) as api:
            assert stat.S_IMODE((await trio.Path(api.path.parent).stat()).st_mode) == 0o755
    finally:
        os.umask(before)


async def test_a_system_without_a_thread_for_it_is_told_to_who_asked_and_ends_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none_left(_act: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(trio.to_thread, "run_sync", none_left)
        for target in ("/v1/bundles", "/v1/metrics", "/v1/generations/1"):
            answer = await api.ask("GET", target)
            assert (answer.status_code, answer.json()["code"]) == (503, "no_thread"), target
            assert "TasksMax" in answer.json()["hint"]
    assert (await api.ask("GET", "/v1/bundles")).status_code == 200


def another(api: Api, path: Path | None = None) -> Callable[[], Awaitable[None]]:
    """Give what runs a second server over the same store."""
    controller = controller_of(api.store)
    events = controller.teller.events
    desk, resetter = FactoryDesk(controller), resetter_of(controller)
    acme = acme_of(controller)
    proxy = (controller, Changes(controller), Reloads())
    backing = Backing(*proxy, api.store, events, desk, resetter, acme, lookout_of(api.store, acme))
    return partial(server.run, path or api.path, backing)


async def test_a_second_proxy_does_not_take_the_socket_of_a_living_one(api: Api) -> None:
    with pytest.raises(ControlError, match="another process listens there"), trio.fail_after(10):
        await another(api)()
    assert (await api.client(Client.status)).process is not None


async def test_the_socket_of_a_dead_process_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control.sock"
    leave_dead_socket(path)
    async with control_api(tmp_path) as api:
        await api.client(Client.status)
    assert not await trio.Path(path).exists()


def leave_dead_socket(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


async def test_a_file_in_the_way_is_left_alone(api: Api, tmp_path: Path) -> None:
    path = trio.Path(tmp_path / "precious")
    await path.write_text("precious")
    with pytest.raises(ControlError, match="no socket is in the way"), trio.fail_after(10):
        await another(api, Path(path))()
    assert await path.read_text() == "precious"


async def test_a_path_that_is_too_long_for_a_socket_is_refused_with_the_fix(api: Api, tmp_path: Path) -> None:
    path = tmp_path / ("long" * 25) / "control.sock"
    with pytest.raises(ControlError, match="the system takes 107") as caught, trio.fail_after(10):
        await another(api, path)()
    assert "runtime = " in caught.value.hint
    assert not await trio.Path(path.parent).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_an_error_with_a_hint(api: Api, tmp_path: Path) -> None:
    closed = trio.Path(tmp_path / "closed")
    await closed.mkdir(mode=0o500)
    with pytest.raises(ControlError, match="permission denied") as caught, trio.fail_after(10):
        await another(api, Path(closed) / "run" / "control.sock")()
    assert "let the proxy's user write" in caught.value.hint


async def ask_at(path: Path) -> None:
    def ask() -> None:
        with Client(path) as client:
            client.status()

    with trio.fail_after(20):
        await trio.to_thread.run_sync(ask)


async def test_where_nobody_listens_no_proxy_runs(tmp_path: Path) -> None:
    leave_dead_socket(tmp_path / "dead.sock")
    await trio.Path(tmp_path / "file").touch()
    for name in ("absent.sock", "no/folder.sock", "dead.sock", "file/x.sock"):
        with pytest.raises(NotRunningError):
            await ask_at(tmp_path / name)


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
        await ask_at(path)
    assert not isinstance(caught.value, NotRunningError)
    assert "\n" not in str(caught.value)
    nursery.cancel_scope.cancel()
    listener.close()


async def test_a_reload_begins_once_its_answer_has_left(api: Api) -> None:
    answer = await api.ask("POST", "/v1/reload")
    assert (answer.status_code, answer.json()) == (202, {"epoch": 2})
    with trio.fail_after(10):
        while not api.reloads.made:
            await trio.lowlevel.checkpoint()
    assert now() >= api.controller.process.since
