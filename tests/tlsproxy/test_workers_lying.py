"""Workers that have gone mad, or over to an enemy: whatever one says, all others live on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
import trio

from tests.tlsproxy.test_workers_crew import scene_of
from tests.tlsproxy.test_workers_testimony import LIES
from tlsproxy.observe.exposition import page
from tlsproxy.workers import birth as birth_room
from tlsproxy.workers.remote import Stage

IMPOSTOR = """
import os, socket, sys
from tlsproxy.workers.spawn import descriptors

sock = socket.socket(fileno=descriptors(sys.argv[1:])["channel"])
sock.sendall(b'{"type":"Started","pid":1}\\n')
while heard := sock.recv(65536):
    if b"AcceptOn" in heard:
        sock.sendall(os.environb[b"LIE"] * int(os.environ.get("TIMES", "1")) + b"\\n")
"""
DEEP = "[" * 100_000


@pytest.fixture
def impostor(tmp_path, monkeypatch):
    """Have workers replaced by a program that says one thing when it is to accept, and nothing more."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "impostor.py").write_text(IMPOSTOR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.setattr(birth_room, "MODULE", "impostor")
    return lambda lie: monkeypatch.setenv("LIE", lie)


@pytest.mark.parametrize(
    "lie",
    [
        "nonsense",
        '{"type":"Pong","number":"three"}',
        '{"type":"Pong","number":1,"connections":' + "9" * 4300 + "}",  # two such added can't be written
        '{"type":"Pong","number":1,"connections":-1}',
        '{"type":"Pong","number":1,"generations":[[-1,1]]}',
        DEEP,
        '{"type":"Said","level":"info","event":"x","fields":{"deep":' + DEEP,
        '{"type":"Ping","number":1}',
        '{"type":"Quiet"}',  # it would go on accepting, and be told of no change
    ],
    ids=[
        "no-json",
        "wrong-type",
        "a-number-of-digits-without-end",
        "less-than-nothing",
        "no-generation",
        "deep",
        "deep-inside",
        "a-supervisor's-word",
        "quiet-unasked",
    ],
)
async def test_a_worker_that_speaks_nonsense_is_killed_and_told_of(tmp_path: Path, impostor, lie) -> None:
    impostor(lie)
    with structlog.testing.capture_logs() as log:
        async with scene_of(tmp_path, 1) as scene:
            (worker,) = scene.crew.workers
            scene.crew.open()
            await worker.ended.wait()
            while not any(line["event"] == "worker_ended" for line in log):  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert worker.exit_code == -9
    told = [line for line in log if line["event"] == "worker_misspoke"]
    assert told[0]["worker"] == worker.pid
    assert told[0]["why"]


async def test_a_worker_that_goes_on_and_on_is_killed_before_it_has_used_up_our_memory(
    tmp_path: Path, impostor, monkeypatch
) -> None:
    monkeypatch.setenv("TIMES", "100")
    impostor("x" * 100_000)
    with structlog.testing.capture_logs() as log:
        async with scene_of(tmp_path, 1) as scene:
            (worker,) = scene.crew.workers
            scene.crew.open()
            await worker.ended.wait()
    told = [line for line in log if line["event"] == "worker_misspoke"]
    assert (told[0]["worker"], told[0]["why"]) == (worker.pid, "a message has no end")


async def test_a_worker_gets_into_the_log_whatever_it_calls_its_facts(tmp_path: Path, impostor) -> None:
    names = ("self", "method_name", "event", "worker", "level", "code")
    fields = ",".join(f'"{name}":"hers"' for name in names)
    impostor('{"type":"Said","level":"info","event":"odd","fields":{' + fields + "}}")
    with structlog.testing.capture_logs() as log:
        async with scene_of(tmp_path, 1) as scene:
            (worker,) = scene.crew.workers
            scene.crew.open()
            while not (told := [line for line in log if line["event"] == "odd"]):  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert scene.crew.workers == [worker]
    assert (told[0]["worker"], told[0]["code"]) == (worker.pid, "hers")


async def test_a_worker_that_never_stops_telling_keys_does_not_end_its_siblings(
    tmp_path: Path, impostor
) -> None:
    """They were given up as stuck, and with them all that they served."""
    impostor('{"type":"TicketKeys","keys":{}}\n' * 3000 + '{"type":"Pong","number":1,"connections":7}')
    async with scene_of(tmp_path, 2) as scene:
        both = tuple(scene.crew.workers)
        scene.crew.open()
        while any(worker.connections != 7 for worker in both):  # noqa: ASYNC110
            await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked()
        assert [worker.stage for worker in both] == [Stage.ACCEPTING] * 2


async def test_a_worker_that_lies_about_its_counts_spoils_no_page(tmp_path: Path, impostor) -> None:
    written = [(key, value) for key, value in LIES if abs(value) < 1e308]  # JSON has no others
    true = [("tlsproxy_sent_bytes_total",), 7]
    impostor(json.dumps({"type": "Counts", "counted": [*written, true], "now": written}))
    async with scene_of(tmp_path, 1) as scene:
        (worker,) = scene.crew.workers
        scene.crew.open()
        while worker.counts is None:  # noqa: ASYNC110
            await trio.sleep(0.01)
        sums, now = await scene.crew.count()
        assert [one for one in sums.counted() if one[1]] == [(("tlsproxy_sent_bytes_total",), 7.0)]
        assert now == [(("tlsproxy_connections",), 1.0)]
        text, _ = page([*sums.counted(), *now])
        assert b"evil" not in text
        assert scene.crew.workers == [worker]


@pytest.mark.parametrize(
    "counts",
    ['[[["tlsproxy_sent_bytes_total"],1e999]]', '[[["tlsproxy_sent_bytes_total"],NaN]]', "[[[1],1]]", "7"],
)
async def test_a_worker_whose_counts_are_none_is_killed_and_told_of(tmp_path: Path, impostor, counts) -> None:
    impostor('{"type":"Counts","now":[],"counted":' + counts + "}")
    with structlog.testing.capture_logs() as log:
        async with scene_of(tmp_path, 1) as scene:
            (worker,) = scene.crew.workers
            scene.crew.open()
            await worker.ended.wait()
            assert (worker.exit_code, worker.counts) == (-9, None)
    assert [line["worker"] for line in log if line["event"] == "worker_misspoke"] == [worker.pid]
