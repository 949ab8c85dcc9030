"""What systemd gives and wants: sockets, words, a watchdog; and that our units hold what they promise."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.confining import FOUND
from tests.live.as_root import ROOT, UID, stage, status_of
from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.pki import Pki

DEADLINE_S = 120
CONF = ROOT / "conf"
Tool = Callable[[str], str]


class Manager:
    """A service manager that listens to what it is told."""

    def __init__(self, path: Path) -> None:
        self._sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM)
        self.path = str(path)

    async def listen(self) -> None:
        await self._sock.bind(self.path)

    async def hear(self) -> str:
        return (await self._sock.recv(4096)).decode()

    async def hear_next(self, start: str) -> str:
        """Hear on until something begins so."""
        while not (words := await self.hear()).startswith(start):
            pass
        return words

    def heard_meanwhile(self) -> list[str]:
        """Give what came and wasn't listened to."""
        found = []
        while True:
            try:
                found.append(os.read(self._sock.fileno(), 4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._sock.close()


@contextmanager
def manager(folder: Path) -> Iterator[Manager]:
    made = Manager(folder / "notify")
    try:
        yield made
    finally:
        made.close()


async def reload(proxy: Proxy) -> tuple[int, str]:
    done = await tlsproxy("reload", "--store", str(proxy.store))
    return done.returncode, done.stderr.decode()


LAUNCHER = """
import os, socket, sys
sock = socket.socket()
sock.bind(("127.0.0.1", 0))
sock.listen(100)
port = sock.getsockname()[1]
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
config = open(sys.argv[1]).read().replace("127.0.0.1:0", f"127.0.0.1:{port}")
open(sys.argv[1], "w").write(config)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


async def test_sockets_of_systemd_are_used_and_it_is_told_of_everything(tmp_path: Path) -> None:
    """The unit passes one socket; two workers share it."""
    with trio.fail_after(DEADLINE_S), manager(tmp_path) as systemd:
        await systemd.listen()
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 2")
            before = [sys.executable, "-c", LAUNCHER, str(config)]
            async with running(config, before=before, env={"NOTIFY_SOCKET": systemd.path}) as proxy:
                assert f"127.0.0.1:{proxy.port}" in config.read_text()
                ready = await systemd.hear_next("READY=1")
                served = r"generation 1, certificate valid until 20[-0-9]+ [:0-9]+ UTC, 2 workers"
                assert re.fullmatch(rf"READY=1\nSTATUS={served}", ready)
                async with Client.to(proxy.port) as client:
                    assert (await client.get("/")).status == 200
                assert await reload(proxy) == (0, "")
                reloading = await systemd.hear_next("RELOADING=1")
                assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
                await systemd.hear_next("READY=1\nSTATUS=generation 1,")
                async with Client.to(proxy.port) as client:
                    assert (await client.get("/")).status == 200
            assert "STOPPING=1" in systemd.heard_meanwhile()


async def test_systemd_hears_at_the_beginning_of_a_drain_that_the_service_stops(tmp_path: Path) -> None:
    """It was told at its end, when there was nothing more to know."""
    with trio.fail_after(DEADLINE_S), manager(tmp_path) as systemd:
        await systemd.listen()
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            env = {"NOTIFY_SOCKET": systemd.path}
            async with running(config, killed=True, env=env) as proxy:
                async with Client.to(proxy.port) as client:
                    await client.start("/events")
                    proxy.process.send_signal(signal.SIGTERM)
                    await systemd.hear_next("STOPPING=1")
                    assert proxy.process.returncode is None
                assert await proxy.process.wait() == 0


async def test_it_tells_systemd_what_is_served_now(tmp_path: Path, pki: Pki) -> None:
    with trio.fail_after(DEADLINE_S), manager(tmp_path) as systemd:
        await systemd.listen()
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
        async with running(config, env={"NOTIFY_SOCKET": systemd.path}) as proxy:
            issued = pki.leaf(names=("device.test",))
            path = tmp_path / "device.pem"
            path.write_bytes(issued.key_pem + issued.chain_pem)
            await proxy.certs_import(path)
            until = f"{issued.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            words = await systemd.hear_next("STATUS=generation 2")
            assert words == f"STATUS=generation 2, certificate valid until {until}, 1 workers"


async def test_the_watchdog_is_fed_also_over_a_reload_and_not_by_a_loop_that_stands_still(
    tmp_path: Path,
) -> None:
    with trio.fail_after(DEADLINE_S), manager(tmp_path) as systemd:
        await systemd.listen()
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
        env = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "600000"}
        async with running(config, env=env) as proxy:
            await systemd.hear_next("READY=1")
            for _ in range(2):
                await systemd.hear_next("WATCHDOG=1")
            assert await reload(proxy) == (0, "")
            for _ in range(2):
                await systemd.hear_next("WATCHDOG=1")
            proxy.process.send_signal(signal.SIGSTOP)
            while status_of(proxy.process.pid)["State"][0] != "T":  # noqa: ASYNC110
                await trio.sleep(0.01)
            systemd.heard_meanwhile()
            with trio.move_on_after(1.5) as silence:  # more than twice what it was told
                await systemd.hear_next("WATCHDOG=1")
            assert silence.cancelled_caught
            proxy.process.send_signal(signal.SIGCONT)
            await systemd.hear_next("WATCHDOG=1")


async def test_a_socket_of_systemd_that_no_listener_names_is_an_error(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"})
    launcher = LAUNCHER.replace('open(sys.argv[1], "w")', 'open(os.devnull, "w")')
    run = ["tlsproxy", "run", "--config", str(config)]
    with trio.fail_after(DEADLINE_S):
        done = await trio.run_process(
            [sys.executable, "-c", launcher, *[str(config), sys.executable], "-m", *run],
            capture_stderr=True,
            stdin=subprocess.DEVNULL,
            check=False,
            env={**os.environ},
        )
    assert done.returncode == 1
    assert b"no listener is configured there" in done.stderr


async def test_systemds_own_socket_activation_starts_it_at_the_first_connection(
    tmp_path: Path, tool: Tool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, trio.open_nursery() as nursery:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, listener=f"127.0.0.1:{port}")
            passed = ["-E", "TLSPROXY_UNSAFE_AS_ROOT", "-E", "PYTHONPATH"]
            before = [tool("systemd-socket-activate"), f"--listen=127.0.0.1:{port}", *passed]

            async def knock() -> None:
                while True:
                    try:
                        stream = await trio.open_tcp_stream("127.0.0.1", port)
                    except OSError:  # systemd-socket-activate is not there yet
                        await trio.sleep(0.01)
                    else:
                        return await stream.aclose()

            nursery.start_soon(knock)
            async with running(config, before=before) as proxy:
                assert proxy.port == port
                async with Client.to(port) as client:
                    assert (await client.get("/")).status == 200
                assert await reload(proxy) == (0, "")
                async with Client.to(port) as client:
                    assert (await client.get("/")).status == 200


# --- the units


def test_systemd_calls_the_unit_safe(tool: Tool) -> None:
    done = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=true", "--no-pager", str(CONF / "tlsproxy.service")],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level for tlsproxy.service: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) < 2.0
    assert not done.stderr, "it understands every line"


def test_the_user_and_the_inbox_are_made_as_the_service_needs_them(tmp_path: Path, tool: Tool) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (tmp_path / "etc" / "tlsproxy").mkdir(parents=True)
    config = tmp_path / "etc" / "tlsproxy" / "tlsproxy.toml"
    config.touch()
    root = f"--root={tmp_path}"
    for command in (
        [tool("systemd-sysusers"), root, str(CONF / "tlsproxy.sysusers")],
        [tool("systemd-tmpfiles"), root, "--create", str(CONF / "tlsproxy.tmpfiles")],
    ):
        subprocess.run(command, check=True, capture_output=True)
    uid = int((tmp_path / "etc" / "passwd").read_text().partition("tlsproxy:x:")[2].partition(":")[0])
    inbox = (tmp_path / "var" / "lib" / "tlsproxy-inbox").stat()
    assert (inbox.st_uid, inbox.st_mode & 0o7777) == (uid, 0o1730)
    assert (config.stat().st_uid, config.stat().st_gid, config.stat().st_mode & 0o777) == (0, uid, 0o640)


# What the unit asks of systemd, done by hand: a /proc with nobody else in it, a user with one capability, and
# the filter of system calls, out of which RestrictNamespaces= takes two more.
SANDBOX = """
import ctypes, os, subprocess, sys

def groups(analyze):
    found = {}
    told = subprocess.run([analyze, "syscall-filter"], capture_output=True, text=True)
    for line in told.stdout.splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = word
            found[name] = []
        elif word and not word.startswith("#"):
            found[name].append(word)
    return found

def calls(name, known):
    if not name.startswith("@"):
        return {name}
    return set().union(*(calls(inner, known) for inner in known[name]))

def allowed(unit, known):
    found = calls("@default", known)
    for line in open(unit):
        if line.startswith("SystemCallFilter="):
            value = line.strip().partition("=")[2]
            named = set().union(*(calls(name, known) for name in value.lstrip("~").split()))
            found = found - named if value.startswith("~") else found | named
    return found - {"unshare", "setns"}

unit, analyze = sys.argv[1:3]
names = allowed(unit, groups(analyze))
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(seccomp.seccomp_init(0x00050000 | 1))  # EPERM
for name in names:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:
        assert seccomp.seccomp_rule_add(context, 0x7FFF0000, number, 0) == 0, name
assert seccomp.seccomp_load(context) == 0
os.execv(sys.argv[3], sys.argv[3:])
"""


def apart_with_a_proc_of_its_own(tool: Tool) -> list[str]:
    proc = 'mount -t proc -o hidepid=invisible,subset=pid proc /proc && exec "$@"'
    command = [tool("unshare"), "--mount", "sh", "-c", proc, "sh"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"a /proc of its own can't be mounted here: {tried.stderr.strip()}")
    return command


def leaves_no_core(pid: int) -> bool:
    return bool(re.search(r"Max core file size +0 +0", Path(f"/proc/{pid}/limits").read_text()))


async def test_behind_the_units_fences_it_serves_reloads_and_confines_itself_further(tool: Tool) -> None:
    with stage() as here, trio.fail_after(DEADLINE_S):
        script = here.folder / "sandbox.py"
        script.write_text(SANDBOX)
        apart = apart_with_a_proc_of_its_own(tool)
        before = [
            *apart,
            *(tool("setpriv"), f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"),
            *("--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service"),
            "--bounding-set=-all,+net_bind_service",
            *(here.python, str(script), str(CONF / "tlsproxy.service"), tool("systemd-analyze")),
        ]
        store = here.folder / "store"
        store.mkdir(mode=0o700)
        os.chown(store, UID, UID)
        async with http_service() as http:
            config = write_config(here.folder, {"/": f"http://localhost:{http}"}, top="workers = 1")
            async with running(config, before=before, python=here.python, env=dict(here.env)) as proxy:
                for _ in range(2):
                    async with Client.to(proxy.port) as client:
                        assert (await client.get("/")).status == 200
                    status = await proxy.status()
                    told = {one["kind"]: one["facts"] for one in status["confinement"]}
                    assert told["supervisor"]["capabilities"] == ["net_bind_service"]
                    assert told["worker"]["capabilities"] == []
                    assert {facts["seccomp"] for facts in told.values()} == {True}
                    assert {facts["landlock"] for facts in told.values()} == {FOUND.abi}
                    assert {facts["uid"] for facts in told.values()} == {UID}
                    assert all(leaves_no_core(facts["pid"]) for facts in told.values())
                    done = await tlsproxy("reload", "--store", str(store))
                    assert (done.returncode, done.stderr) == (0, b"")
