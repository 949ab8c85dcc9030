"""Started as root: ports first, then a user without power, fenced in; and it stays so over a reload."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.confining import FOUND, needs_landlock
from tests.live.as_root import OTHER_UID, ROOT, UID, Stage, privileged_port, stage, statuses_of
from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.pki import Pki

DEADLINE_S = 120
NOWHERE = {"/": "http://127.0.0.1:9"}


@pytest.fixture
def here() -> Iterator[Stage]:
    with stage() as made:
        yield made


def started(here: Stage, config: Path, *options: str, **env: str) -> AbstractAsyncContextManager[Proxy]:
    return running(config, python=here.python, env={**here.env, **env}, options=options)


def commanded(here: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [here.python, "-m", "tlsproxy", *words],
        env={**os.environ, **here.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refused(here: Stage, config: Path, *options: str) -> list[str]:
    """Start one that must not start; gives its error and hint lines."""
    done = commanded(here, "run", "--config", str(config), *options)
    assert done.returncode == 1, done.stderr
    return [line.removeprefix("tlsproxy: ") for line in done.stderr.splitlines()]


async def processes(proxy: Proxy) -> dict[str, dict[str, Any]]:
    """Give what the status tells of a process of each kind."""
    return {one["kind"]: one["facts"] for one in (await proxy.status())["confinement"]}


async def reload(proxy: Proxy) -> tuple[int, str]:
    done = await tlsproxy("reload", "--store", str(proxy.store))
    return done.returncode, done.stderr.decode()


async def answered(port: int) -> int:
    async with Client.to(port) as client:
        return (await client.get("/")).status


def assert_powerless(told: dict[str, Any], uid: int) -> None:
    """Hold what the kernel says of a process against what must be, and against what the status told.

    Of each of its threads, as that of the log: users, capabilities and fences belong to threads.
    """
    for facts in statuses_of(told["pid"]):
        assert facts["Uid"].split() == [str(uid)] * 4, "real, effective, saved, and for files"
        assert facts["Gid"].split() == [str(uid)] * 4
        assert set(facts["Groups"].split()) <= {str(uid)}
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(facts[kind], 16) == 0, kind
        assert facts["NoNewPrivs"] == "1"
    assert (told["uid"], told["capabilities"], told["no_new_privs"]) == (uid, [], True)
    assert told["landlock"] == FOUND.abi
    assert told["landlock_why"] == FOUND.why
    assert told["dumpable"] is False


async def test_all_its_processes_end_as_the_user_and_a_port_below_1024_is_served_also_after_a_reload(
    here: Stage,
) -> None:
    port = privileged_port()
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            top = f'user = "{UID}"\nworkers = 1'
            routes = {"/": f"http://127.0.0.1:{http}"}
            config = write_config(
                here.folder, routes, top=top, listener=f"127.0.0.1:{port}", more='[log]\naccess = "on"'
            )
            async with started(here, config) as proxy:
                # then more workers than sockets were opened for
                for number in (1, 2, 3):
                    if number > 1:
                        text = config.read_text()
                        config.write_text(text.replace(f"workers = {number - 1}", f"workers = {number}"))
                        assert await reload(proxy) == (0, "")
                    for _ in range(5):
                        assert await answered(port) == 200
                    told = await processes(proxy)
                    assert set(told) >= {"supervisor", "worker"}
                    for facts in told.values():
                        assert_powerless(facts, UID)


async def test_more_workers_after_a_reload_have_sockets_of_their_own_where_the_user_may_open_them(
    here: Stage,
) -> None:
    """A reuse-port group takes in only sockets of one user: root gives its own away."""
    with trio.fail_after(DEADLINE_S):
        top = f'user = "{UID}"\nworkers = 1'
        config = write_config(here.folder, NOWHERE, top=top)
        async with started(here, config) as proxy:
            assert listening_at(proxy.port) == [UID]
            config.write_text(config.read_text().replace("workers = 1", "workers = 3"))
            assert await reload(proxy) == (0, "")
            assert listening_at(proxy.port) == [UID] * 3


def listening_at(port: int) -> list[int]:
    """Give the user of each socket that listens on a port of 127.0.0.1 (proc(5), net/tcp)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(line[7]) for line in lines if line[1] == f"0100007F:{port:04X}" and line[3] == "0A"]


async def test_a_new_port_below_1024_is_refused_by_the_pre_flight_with_the_way_out(here: Stage) -> None:
    port = privileged_port()
    with trio.fail_after(DEADLINE_S):
        config = write_config(here.folder, NOWHERE, top=f'user = "{UID}"')
        async with started(here, config) as proxy:
            more = f'\n[[listener]]\naddress = "127.0.0.1:{port}"\n'
            config.write_text(config.read_text() + more)
            code, words = await reload(proxy)
            assert code == 1
            assert "before root's power is given up" in words
            assert "restart the service" in words
            assert (await proxy.status())["process"]["epoch"] == 1


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("user", f'"{OTHER_UID}"', f"only root can become the user {OTHER_UID}"),
        ("inbox.path", '"{folder}/outside"', "the inbox can't become"),
    ],
)
@needs_landlock
async def test_what_the_fence_leaves_no_room_for_is_refused_by_the_pre_flight(
    here: Stage, key: str, value: str, why: str
) -> None:
    (here.folder / "outside").mkdir(mode=0o777)
    with trio.fail_after(DEADLINE_S):
        config = write_config(here.folder, NOWHERE, top=f'user = "{UID}"')
        async with started(here, config) as proxy:
            text = (
                config.read_text().replace(f'user = "{UID}"\n', "") if key == "user" else config.read_text()
            )
            config.write_text(f"{key} = {value.format(folder=here.folder)}\n{text}")
            code, words = await reload(proxy)
            assert code == 1
            assert why in words


MAY = {
    "worker": {"read a key", "connect to the upstream"},
    "supervisor": {
        "read passwd",
        "read authority",
        "read receipts",
        "read a key",
        "write a key",
        "write the store",
        "move within the store",
        "remove from the store",
        "execute",
        "listen",
        "connect to the upstream",
        "connect elsewhere",
        "signal another",
    },
    "examiner": set[str](),
}
# What a kernel needs to forbid the rest: the ABI of its Landlock.
SINCE = {"listen": 4, "connect elsewhere": 4, "connect to the upstream": 4, "signal another": 6}


@needs_landlock
async def test_each_process_can_do_what_it_is_for_and_nothing_else_also_after_a_reload(here: Stage) -> None:
    (here.folder / "outside").mkdir()
    (here.folder / "outside").chmod(0o777)
    with (
        trio.fail_after(DEADLINE_S),
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        stranger_of(UID) as stranger,
    ):
        async with http_service() as http:
            config = write_config(
                here.folder, {"/": f"http://127.0.0.1:{http}"}, top=f'user = "{UID}"\nworkers = 1'
            )
            ports = f"{http},{elsewhere.getsockname()[1]}"
            async with started(here, config, PORTS=ports, STRANGER=str(stranger)) as proxy:
                secret = proxy.store / "authority" / "secret"
                secret.parent.mkdir(exist_ok=True)
                os.chown(secret.parent, UID, UID)
                secret.write_text("x")
                os.chown(secret, UID, UID)
                await assert_no_more_than_needed(proxy)
                assert await reload(proxy) == (0, "")
                await assert_no_more_than_needed(proxy)


@contextmanager
def stranger_of(uid: int) -> Iterator[int]:
    """Run another process of the same user, that has nothing to do with us."""
    with subprocess.Popen(["sleep", "1000"], user=uid) as process:
        try:
            yield process.pid
        finally:
            process.kill()


async def assert_no_more_than_needed(proxy: Proxy) -> None:
    told = await processes(proxy)
    while "examiner" not in told:
        told = await processes(proxy)
    for kind, facts in told.items():
        since = len(proxy.log)
        os.kill(facts["pid"], signal.SIGUSR1)
        found = (await proxy.wait_log("probed", since=since, pid=facts["pid"]))["found"]
        could = {what for what, why in found.items() if not why}
        known = {what for what in found if SINCE.get(what, 1) <= FOUND.abi}
        assert could & known == MAY[kind] & known, (kind, found)


async def test_a_file_that_only_root_can_read_is_told_at_the_first_reload(here: Stage) -> None:
    with trio.fail_after(DEADLINE_S):
        config = write_config(here.folder, NOWHERE, top=f'user = "{UID}"')
        config.chmod(0o600)
        async with started(here, config) as proxy:
            code, words = await reload(proxy)
            assert code == 1
            assert "can't be read: permission denied" in words
            assert f"chmod 640 {config}" in words


async def test_what_is_new_is_made_for_the_user_and_nobody_else(here: Stage) -> None:
    with trio.fail_after(DEADLINE_S):
        top = f'user = "{UID}"\nruntime = "{here.folder}/run/tlsproxy"'
        config = write_config(
            here.folder,
            NOWHERE,
            top=top,
            store=here.folder / "var" / "lib" / "store",
            more=f'[inbox]\npath = "{here.folder}/inbox"',
        )
        async with started(here, config):
            for name, mode in (("var/lib/store", 0o700), ("run/tlsproxy", 0o750), ("inbox", 0o1730)):
                facts = (here.folder / name).stat()
                assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (UID, UID, mode), name
            done = await tlsproxy("status", "--config", str(config))
            assert f"supervisor   uid {UID}; capabilities: none; no new privileges" in done.stdout.decode()
            parent = (here.folder / "var" / "lib").stat()
            assert (parent.st_uid, stat.S_IMODE(parent.st_mode)) == (0, 0o755)


async def test_without_a_name_it_becomes_the_owner_of_the_store(here: Stage) -> None:
    with trio.fail_after(DEADLINE_S):
        config = write_config(here.folder, NOWHERE)
        (here.folder / "store").mkdir(mode=0o700)
        os.chown(here.folder / "store", UID, UID)
        async with started(here, config) as proxy:
            assert_powerless((await processes(proxy))["supervisor"], UID)


async def test_the_user_on_the_command_line_wins(here: Stage) -> None:
    with trio.fail_after(DEADLINE_S):
        config = write_config(here.folder, NOWHERE, top=f'user = "{OTHER_UID}"')
        async with started(here, config, "--user", f"{UID}:{UID}") as proxy:
            assert_powerless((await processes(proxy))["supervisor"], UID)


@pytest.mark.parametrize("options", [(), ("--unsafe-as-root",)], ids=["nobody-named", "asked-for"])
async def test_root_without_anybody_to_become_stays_root_with_a_warning_and_fenced_workers(
    here: Stage, options: tuple[str, ...]
) -> None:
    config = write_config(here.folder, NOWHERE)
    (here.folder / "store").mkdir(mode=0o700)
    (here.folder / "store" / "there").touch()
    with trio.fail_after(DEADLINE_S):
        async with started(here, config, *options) as proxy:
            await proxy.wait_log("still_root")
            told = await processes(proxy)
            assert told["supervisor"]["uid"] == 0
            assert told["worker"]["capabilities"] == []


@pytest.mark.parametrize("owner", [0, OTHER_UID])
def test_a_store_of_somebody_else_is_told_with_the_command_that_mends_it(here: Stage, owner: int) -> None:
    config = write_config(here.folder, NOWHERE, top=f'user = "{UID}"')
    (here.folder / "store").mkdir(mode=0o700)
    (here.folder / "store" / "there").touch()
    os.chown(here.folder / "store", owner, owner)
    error, hint = refused(here, config)
    assert error == f"error: the store {here.folder}/store belongs to uid {owner}, not to {UID}"
    assert hint == f"hint: chown -R {UID}:{UID} {here.folder}/store"


def test_root_whose_code_the_service_cannot_read_is_told_before_an_import_changes_anything(
    here: Stage, pki: Pki
) -> None:
    config = write_config(here.folder, NOWHERE, top=f'user = "{UID}"')
    upload = here.folder / "device.pem"
    issued = pki.leaf()
    upload.write_bytes(issued.key_pem + issued.chain_pem)
    hidden = here.folder / "hidden"  # as in root's home
    shutil.copytree(ROOT / "tlsproxy", hidden / "tlsproxy")
    hidden.chmod(0o700)
    path = os.pathsep.join([str(hidden), here.env["PYTHONPATH"]])
    done = subprocess.run(
        [here.python, "-P", "-m", "tlsproxy", "certs", "import", str(upload), "--config", str(config)],
        env={**os.environ, **here.env, "PYTHONPATH": path},
        cwd=here.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"tlsproxy: error: {UID} can't read {hidden}/tlsproxy/")
    assert hint.startswith("tlsproxy: hint: install Python and tlsproxy where every user may read")
    assert not (here.folder / "store").exists()


def test_a_user_that_there_is_not_is_told(here: Stage) -> None:
    config = write_config(here.folder, NOWHERE, top='user = "no-such-user"')
    error, hint = refused(here, config)
    assert error == "error: there is no user no-such-user"
    assert "useradd --system" in hint


@pytest.mark.parametrize("is_new", [False, True])
def test_the_command_line_as_root_leaves_nothing_that_the_service_cannot_read(
    here: Stage, pki: Pki, *, is_new: bool
) -> None:
    config = write_config(here.folder, NOWHERE, top=f'user = "{UID}"')
    if not is_new:
        (here.folder / "store").mkdir(mode=0o700)
        os.chown(here.folder / "store", UID, UID)
    upload = here.folder / "device.pem"
    issued = pki.leaf()
    upload.write_bytes(issued.key_pem + issued.chain_pem)
    upload.chmod(0o600)
    place = ["--config", str(config)] if is_new else ["--store", str(here.folder / "store")]
    done = commanded(here, "certs", "import", str(upload), *place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stored: ")
    (audited,) = map(json.loads, (here.folder / "store" / "audit.jsonl").read_text("ascii").splitlines())
    assert (audited["by"], audited["uid"]) == ("command", 0), "who asked, not whom he became"
    left = [here.folder / "store", *(here.folder / "store").rglob("*")]
    assert len(left) > 5
    assert {(path.stat().st_uid, path.stat().st_gid) for path in left} == {(UID, UID)}
