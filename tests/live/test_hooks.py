"""Hooks of a whole proxy: real commands and a real web server are told, whatever they do."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trio

from tests.live.as_root import UID, stage
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_metrics import scraped

DEADLINE_S = 120
ROOT = Path(__file__).parents[2]


def script(folder: Path, body: str) -> Path:
    path = folder / "hook"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


class Collector(ThreadingHTTPServer):
    """Keeps what is posted; answers with the next of `answers`, then with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.authorizations: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.authorizations.append(self.headers["authorization"])
        answer = self.server.answers.pop(0) if self.server.answers else 204
        if answer == 204:
            self.server.got.append((self.path, json.loads(body)))
        self.send_response(answer)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


async def refuse(proxy: Proxy, folder: Path) -> str:
    """Have a candidate refused, which is news."""
    file = folder / "nonsense.pem"
    file.write_bytes(b"nonsense")
    receipt = await proxy.certs_import(file)
    assert receipt["state"] == "refused"
    return str(receipt["id"])


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  what other processes do, nobody tells us
        await trio.sleep(0.01)


async def grown(path: Path, lines: int) -> list[dict[str, Any]]:
    """Wait until a hook has written so many lines."""

    def found() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    await until(lambda: len(found()) >= lines)
    return [json.loads(line) for line in found()]


async def test_a_command_gets_one_line_and_a_clean_environment_outside_the_fence(tmp_path: Path) -> None:
    told, environment = tmp_path / "told", tmp_path / "environment"
    hook = script(tmp_path, f'cat >> {told}; env > {environment}; pwd >> {environment}; echo "$1"')
    config = write_config(
        tmp_path,
        {"/": "http://127.0.0.1:9"},
        more=f'[notify]\ncommand = ["{hook}", "; rm x"]',
        top="workers = 1",
    )
    with trio.fail_after(DEADLINE_S):
        async with running(config, env={"SECRET": "42"}) as proxy:
            id_ = await refuse(proxy, tmp_path)
            line = await proxy.wait_log("notified")
            assert (line["way"], line["to"], line["tries"], line["output"]) == (
                "command",
                str(hook),
                1,
                "; rm x",
            )
            (event,) = await grown(told, 1)
            assert (event["kind"], event["id"], event["state"]) == ("receipt", id_, "refused")
            words = environment.read_text().splitlines()
            names = {word.partition("=")[0] for word in words if "=" in word} - {
                "_",
                "PWD",
                "OLDPWD",
                "SHLVL",
            }
            assert names == {"PATH", "LANG", "TLSPROXY_EVENT"}
            assert words[-1] == "/"
            assert (await scraped(proxy))["tlsproxy_notifications_total"]["command", "delivered"] == 1


async def test_a_hook_lives_over_reloads_and_each_event_is_told_once(tmp_path: Path) -> None:
    told = tmp_path / "told"
    hook = script(tmp_path, f"cat >> {told}")
    top, routes = "workers = 1", {"/": "http://127.0.0.1:9"}
    config = write_config(tmp_path, routes, more=f'[notify]\ncommand = ["{hook}"]', top=top)
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            ids = [await refuse(proxy, tmp_path)]
            for _ in range(2):
                assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
                ids.append(await refuse(proxy, tmp_path))
            assert [event["id"] for event in await grown(told, 3)] == ids
            other = tmp_path / "other"
            other.mkdir()
            write_config(
                tmp_path,
                routes,
                more=f'[notify]\ncommand = ["{script(other, f"cat >> {other}/told")}"]',
                top=top,
            )
            assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
            last = await refuse(proxy, tmp_path)
            assert [event["id"] for event in await grown(other / "told", 1)] == [last]
            assert len(await grown(told, 3)) == 3
            assert not [line for line in proxy.log if line["event"] == "hooks_fenced"]


async def test_an_upgrade_by_reload_brings_new_code_to_the_helper_with_what_waits_in_it(
    tmp_path: Path,
) -> None:
    """It ran the old version's code until the next restart."""
    package = tmp_path / "package"
    for name in ("tlsproxy", "certstore"):
        shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    open_, told = tmp_path / "open", tmp_path / "told"
    hook = script(tmp_path, f"[ -e {open_} ] && cat >> {told}")
    config = write_config(
        tmp_path, {"/": "http://127.0.0.1:9"}, more=f'[notify]\ncommand = ["{hook}"]', top="workers = 1"
    )
    with trio.fail_after(DEADLINE_S):
        async with running(config, env={"PYTHONPATH": str(package)}) as proxy:
            (helper,) = _helpers(proxy.process.pid)
            ids = [await refuse(proxy, tmp_path) for _ in range(2)]
            await proxy.wait_log("notice_failed")
            runner = package / "tlsproxy" / "notify" / "hook.py"
            runner.write_text(
                runner.read_text().replace("return Ended(_why(", 'return Ended("new: " + _why(')
            )
            assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
            failed = await proxy.wait_log("notice_failed", why="new: it ended with exit code 1")
            assert failed["tries"] > 1
            assert _helpers(proxy.process.pid) == [helper]
            runner.write_text(runner.read_text().replace('"new: " + _why(', "_why("))
            mended_at = len(proxy.log)
            assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
            await proxy.wait_log("notice_failed", since=mended_at, why="it ended with exit code 1")
            open_.touch()  # not before: that code calls every try a failure, and would make another
            assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0  # tries at once
            assert [event["id"] for event in await grown(told, 2)] == ids
            status = await proxy.status()
            (confined,) = [one for one in status["confinement"] if one["kind"] == "hook helper"]
            assert confined["facts"]["pid"] == helper
            assert confined["facts"]["landlock"] == 0
            assert not [line for line in proxy.log if line["event"] in {"hooks_fenced", "hook_helper_ended"}]


async def test_hooks_that_come_by_a_reload_run_and_their_fence_is_told(tmp_path: Path) -> None:
    top, routes = "workers = 1", {"/": "http://127.0.0.1:9"}
    config = write_config(tmp_path, routes, top=top)
    hook = script(tmp_path, "echo heard")
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            await refuse(proxy, tmp_path)
            write_config(tmp_path, routes, more=f'[notify]\ncommand = ["{hook}"]', top=top)
            assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
            await refuse(proxy, tmp_path)
            assert (await proxy.wait_log("notified"))["output"] == "heard"
            confined = [line for line in proxy.log if line["event"] == "confined"]
            fenced = [line for line in proxy.log if line["event"] == "hooks_fenced"]
            assert bool(fenced) == confined[0]["landlock"].startswith("Landlock")
            found: dict[str, int] = {}
            while "hook helper" not in found:
                status = await proxy.status()
                found = {one["kind"]: one["facts"]["landlock"] for one in status["confinement"]}
            assert found["hook helper"] == found["supervisor"]
            await refuse(proxy, tmp_path)
            await until(lambda: sum(line["event"] == "notified" for line in proxy.log) == 2)


async def test_a_hook_that_hangs_floods_and_fails_is_killed_bounded_and_tried_again(tmp_path: Path) -> None:
    pids, told = tmp_path / "pids", tmp_path / "told"
    hook = script(
        tmp_path,
        f"""echo $$ >> {pids}
n=$(wc -l < {pids})
if [ $n = 1 ]; then sleep 1000 & echo $! >> {tmp_path}/child; head -c 3000000 /dev/zero | tr '\\0' x; wait; fi
if [ $n = 2 ]; then echo no >&2; exit 7; fi
cat >> {told}""",
    )
    notify = f'[notify]\ncommand = ["{hook}"]\ntry_s = 1.0'
    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, more=notify, top="workers = 1")
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            await refuse(proxy, tmp_path)
            first = await proxy.wait_log("notice_failed", tries=1)
            assert first["why"] == "it was killed: it did not end within 1 s"
            assert first["output"] == "x" * 2048
            child = int((tmp_path / "child").read_text())
            await until(lambda: not _is_alive(child))  # killed with its group; who reaps it is the system
            second = await proxy.wait_log("notice_failed", tries=2)
            assert (second["why"], second["output"]) == ("it ended with exit code 7", "no")
            assert (await proxy.wait_log("notified"))["tries"] == 3
            assert len(await grown(told, 1)) == 1
            assert (await proxy.status())["rung"] == "generated"


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_webhook_is_tried_again_and_no_secret_of_its_url_is_logged(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S), collecting() as collector:
        collector.answers = [503, 302]
        url = f"http://me:sesame@127.0.0.1:{collector.server_port}/hooks/T0KEN?key=hush"
        notify = f'[notify]\nwebhook = "{url}"\nevents = ["refused"]'
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, more=notify, top="workers = 1")
        async with running(config) as proxy:
            id_ = await refuse(proxy, tmp_path)
            assert (await proxy.wait_log("notice_failed", tries=1))["why"] == "it was answered 503"
            assert (await proxy.wait_log("notice_failed", tries=2))["why"] == "it was answered 302"
            line = await proxy.wait_log("notified")
            assert line["to"] == f"http://127.0.0.1:{collector.server_port}/..."
            ((path, event),) = collector.got
            assert (path, event["id"]) == ("/hooks/T0KEN?key=hush", id_)
            assert collector.authorizations[0] == "Basic bWU6c2VzYW1l"
            for secret in (b"sesame", b"T0KEN", b"hush", b"bWU6"):
                assert secret not in proxy.written


async def test_a_helper_that_is_killed_is_replaced_and_clients_never_notice(tmp_path: Path) -> None:
    hook = script(tmp_path, "exit 0")
    config = write_config(
        tmp_path, {"/": "http://127.0.0.1:9"}, more=f'[notify]\ncommand = ["{hook}"]', top="workers = 1"
    )
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:
            (helper,) = _helpers(proxy.process.pid)
            os.kill(helper, 9)
            ended = await proxy.wait_log("hook_helper_ended")
            assert (ended["pid"], ended["exit_code"]) == (helper, -9)
            await until(lambda: bool(_helpers(proxy.process.pid)))
            await refuse(proxy, tmp_path)
            await proxy.wait_log("notified")
            assert not [line for line in proxy.log if line["event"] == "worker_ended"]


def _helpers(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [
        int(pid)
        for pid in children
        if b"tlsproxy.notify.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def test_hooks_run_as_the_user_that_root_became_and_write_where_he_may() -> None:
    with stage() as here:
        out = here.folder / "out"
        out.mkdir()
        os.chown(out, UID, UID)
        hook = script(here.folder, f"id -u > {out}/uid; id -G > {out}/groups; grep CapPrm /proc/self/status")
        config = write_config(
            here.folder,
            {"/": "http://127.0.0.1:9"},
            more=f'[notify]\ncommand = ["{hook}"]',
            top=f'workers = 1\nuser = "{UID}"',
        )
        with trio.fail_after(DEADLINE_S):
            async with running(config, python=here.python, env=dict(here.env)) as proxy:
                (helper,) = _helpers(proxy.process.pid)
                await refuse(proxy, here.folder)
                line = await proxy.wait_log("notified")
                assert line["output"].split() == ["CapPrm:", "0" * 16]
                assert (out / "uid").read_text().split() == [str(UID)]
                assert (out / "groups").read_text().split() == [str(UID)]
                assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
                assert _helpers(proxy.process.pid) == [helper]
