"""`tlsproxy workers`: who serves, since when, and by which certificates."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from tests import controlling
from tests.controlling import WORKERS, Api, control_api
from tlsproxy.cli import main
from tlsproxy.errors import ExitCode
from tlsproxy.observe.processes import describe, is_ours, started_at


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    ours = (replace(WORKERS[0], pid=os.getpid()), replace(WORKERS[1], pid=2**22 + 1))  # beyond any pid
    monkeypatch.setattr(controlling, "WORKERS", ours)
    async with control_api(tmp_path) as api:
        yield api


async def run(api: Api, *words: str) -> int:
    config = api.path.parent / "tlsproxy.toml"
    config.write_text(
        f'store = "{api.store.path}"\nruntime = "{api.path.parent}"\n'
        '[[listener]]\naddress = "127.0.0.1:0"\n[[route]]\nupstream = "http://127.0.0.1:9"\n'
    )
    with trio.fail_after(30):
        return await trio.to_thread.run_sync(main, ["workers", "--config", str(config), *words])


async def test_a_table_says_who_serves_and_whom_older_certificates_still_serve(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()  # the log's
    assert await run(api) == ExitCode.DONE
    begun = started_at(os.getpid())
    heads, first, second = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert heads == "pid seat stage generation connections by generation since (UTC)"
    assert first == f"{os.getpid()} 0 accepting 2 5 2: 3, 1: 1 {begun:%Y-%m-%d %H:%M:%S}"
    assert second == f"{2**22 + 1} 1 retired 1 1 1: 1 ?"


async def test_programs_get_the_same_in_json(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()  # the log's
    assert await run(api, "--json") == ExitCode.DONE
    first, second = json.loads(capsys.readouterr().out)["workers"]
    assert (first["epoch"], first["stage"], first["connections"]) == (1, "accepting", 5)
    assert first["generations"] == [
        {"generation": 2, "connections": 3},
        {"generation": 1, "connections": 1},
    ]
    assert datetime.fromisoformat(first["since"]) == started_at(os.getpid())
    assert second["since"] is None


def test_without_a_proxy_it_says_so_and_ends_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["workers", "--store", str(tmp_path)]) == ExitCode.FAILED
    out = capsys.readouterr()
    assert "no proxy answers" in out.err
    assert "tlsproxy run" in out.err
    assert not out.out


def test_a_process_is_described_as_far_as_it_may_be_seen() -> None:
    facts = describe(os.getpid())
    begun = started_at(os.getpid())
    assert begun is not None
    assert begun > datetime.now(UTC) - timedelta(days=1)
    assert isinstance(facts["pss_bytes"], int)
    assert isinstance(facts["descriptors"], int)
    assert any(line.startswith("Max open files") for line in facts["limits"])  # type: ignore[attr-defined]
    assert describe(2**22 + 1) == {"pid": 2**22 + 1, "since": None, "seen": False}


def test_a_tls_library_whose_file_was_replaced_is_told_as_deleted(tmp_path: Path) -> None:
    file = tmp_path / "libssl.so.9"
    file.write_bytes(b"\0" * mmap.PAGESIZE)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ):
        assert str(file) in describe(os.getpid())["libraries"]  # type: ignore[operator]
        file.unlink()
        assert f"{file} (deleted)" in describe(os.getpid())["libraries"]  # type: ignore[operator]


def test_a_system_that_hides_its_processes_makes_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")  # as ProcSubset=pid: no /proc/stat
    monkeypatch.setattr("psutil.PROCFS_PATH", str(tmp_path))
    monkeypatch.setattr("psutil._pslinux.BOOT_TIME", None, raising=False)
    started_at(os.getpid())
    monkeypatch.setattr("psutil.PROCFS_PATH", str(tmp_path / "nothing"))
    assert started_at(os.getpid()) is None
    assert not is_ours(os.getpid())
    assert describe(os.getpid()) == {"pid": os.getpid(), "since": None, "seen": False}


async def test_the_command_looks_itself_where_the_proxy_may_not_see_its_workers(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    monkeypatch.setattr("tlsproxy.control.standing.started_at", lambda _pid: None)
    monkeypatch.setattr("tlsproxy.observe.processes.is_ours", lambda pid: pid == os.getpid())
    assert await run(api, "--json") == ExitCode.DONE
    first, second = json.loads(capsys.readouterr().out)["workers"]
    assert datetime.fromisoformat(first["since"]) == started_at(os.getpid())
    assert second["since"] is None
