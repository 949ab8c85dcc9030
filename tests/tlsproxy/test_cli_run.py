"""`tlsproxy run` as a process: it serves, is asked, ends in order; and what stops it is told in two lines."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tlsproxy.errors import ExitCode


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tlsproxy", *map(str, arguments)]


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


class Log:
    """The events that a proxy writes to its stderr, one after the other."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stderr is not None
        self._stream, self._rest = process.stderr, b""

    async def event(self) -> dict[str, Any] | None:
        """Wait for the next event; None at the end."""
        while b"\n" not in self._rest:
            more = await self._stream.receive_some()
            if not more:
                assert not self._rest
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        return event


async def ask(store: Path) -> dict[str, Any]:
    done = await trio.run_process(command("status", "--json", "--store", store), capture_stdout=True)
    status: dict[str, Any] = json.loads(done.stdout)
    return status


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
async def test_a_signal_ends_a_proxy_that_served_with_nothing_but_its_log(
    tmp_path: Path, nursery: trio.Nursery, how: signal.Signals
) -> None:
    store = tmp_path / "store"
    words = command("run", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9", "--store", store)
    words = ["sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", *words]
    with trio.fail_after(60):
        process = await nursery.start(partial(trio.run_process, words, stderr=subprocess.PIPE, check=False))
        log = Log(process)
        seen: set[str] = set()
        while "serving" not in seen:
            event = await log.event()
            assert event is not None
            seen.add(event["event"])
        status = await ask(store)
        assert status["process"]["pid"] == process.pid
        assert status["rung"] == "generated"
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard, "a client and its upstream take two descriptors: what may be had is needed"
        assert status["listeners"][0]["port"] > 0
        process.send_signal(how)
        while await log.event() is not None:
            pass
        assert await process.wait() == ExitCode.DONE
    assert not (store / "run" / "control.sock").exists()


def run_to_its_end(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("run", *arguments), capture_output=True, text=True, timeout=60, check=False)


def test_a_taken_port_is_one_error_line_and_one_hint_line(tmp_path: Path) -> None:
    with taken_port() as port:
        done = run_to_its_end(
            "--listen", f"127.0.0.1:{port}", "--upstream", "http://127.0.0.1:9", "--store", tmp_path / "s"
        )
    assert done.returncode == ExitCode.FAILED
    error, hint = done.stderr.splitlines()
    assert error == f"tlsproxy: error: can't listen on 127.0.0.1:{port}: another program listens there"
    assert hint.startswith("tlsproxy: hint: ")


@pytest.mark.parametrize("user", ["99999999999", "", "proxy:", "no/body"])
def test_a_user_that_no_system_has_is_refused_at_once(tmp_path: Path, user: str) -> None:
    done = run_to_its_end(
        "--listen",
        "127.0.0.1:1",
        "--upstream",
        "http://127.0.0.1:9",
        "--store",
        tmp_path / "s",
        "--user",
        user,
    )
    assert done.returncode == ExitCode.MISUSE
    assert "is no name or number of an account" in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_wrong_file_names_its_first_mistake_and_the_command_that_names_all(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("bogus = 1\n")
    done = run_to_its_end("--config", path)
    assert done.returncode == ExitCode.MISUSE
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"tlsproxy: error: {path}: store: is missing (and 3 more)")
    assert hint == f"tlsproxy: hint: tlsproxy check --config {path} says all of them"


def test_a_store_where_no_folder_can_be_is_one_error_line_and_one_hint_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run_to_its_end(
        "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9", "--store", tmp_path / "file" / "s"
    )
    assert done.returncode == ExitCode.FAILED
    error, hint = done.stderr.splitlines()
    assert error.startswith("tlsproxy: error: ")
    assert hint.startswith("tlsproxy: hint: ")
