"""A device whose maker has configured ACME: it enrols by itself, and what a person says goes before it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.authorities import pebble as pebbles
from tests.authorities.pebble import Pebble
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_acme import DEADLINE_S, acme, directory, shown
from tests.live.test_reload import reload

TABLE = """
[acme]
directory = "{directory}"
names = [{names}]
challenge = "tls-alpn-01"
agree_tos = true
ca_file = "{root}"
eab_kid = "kid-1"
eab_key_file = "{key}"
"""


@pytest.fixture
def pebble(tmp_path_factory, pki):
    with pebbles.running(tmp_path_factory.mktemp("pebble"), pki, binding=True) as running:
        yield running


def table(folder: Path, pebble: Pebble, *names: str) -> str:
    (folder / "root.pem").write_bytes(pebble.server.ca_pem)
    (folder / "mac.txt").write_text(pebbles.MAC + "\n")
    listed = ", ".join(f'"{name}"' for name in names)
    files = {"root": folder / "root.pem", "key": folder / "mac.txt"}
    return TABLE.format(directory=pebble.server.directory, names=listed, **files)


def written(folder: Path, pebble: Pebble, http: int, more: str) -> Path:
    listener, routes = f"127.0.0.1:{pebble.tls}", {"/": f"http://127.0.0.1:{http}"}
    return write_config(folder, routes, listener=listener, more=more, top="workers = 1")


@asynccontextmanager
async def scene(folder: Path, pebble: Pebble, more: str) -> AsyncIterator[tuple[Proxy, int]]:
    async with http_service() as http, running(written(folder, pebble, http, more)) as proxy:
        yield proxy, http


async def come(proxy: Proxy, *names: str) -> dict[str, object]:
    """Wait until a certificate for these names has come by itself."""
    while True:
        done = await tlsproxy("acme", "status", "--store", str(proxy.store), "--json")
        if done.returncode == 0:
            found = await acme(proxy, "status")
            if found["names"] == list(names) and found["sha256"] is not None and not found["asking"]:
                return found
        await trio.sleep(0.1)


async def absent(proxy: Proxy) -> bool:
    done = await tlsproxy("acme", "status", "--store", str(proxy.store))
    return b"there is no ACME enrolment" in done.stderr


async def test_a_device_enrols_by_itself_and_follows_its_configuration(tmp_path, pebble) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble, table(tmp_path, pebble, "device.test")) as (proxy, http):
            first = await come(proxy, "device.test")
            assert first["configured"] is True
            assert await shown(proxy.port) == first["sha256"]
            assert await reload(proxy) == (0, "")
            assert (await acme(proxy, "status"))["sha256"] == first["sha256"], "nothing is asked for anew"
            written(tmp_path, pebble, http, table(tmp_path, pebble, "device.test", "other.test"))
            assert await reload(proxy) == (0, "")
            second = await come(proxy, "device.test", "other.test")
            assert await shown(proxy.port) == second["sha256"] != first["sha256"]
            written(tmp_path, pebble, http, "")
            assert await reload(proxy) == (0, "")
            while not await absent(proxy):  # noqa: ASYNC110
                await trio.sleep(0.1)
            assert await shown(proxy.port) == second["sha256"], "what is there stays"


async def test_what_a_person_says_goes_before_the_configuration_until_a_reset(tmp_path, pebble) -> None:
    more = table(tmp_path, pebble, "device.test")
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble, more) as (proxy, _):
            await come(proxy, "device.test")
            words = ("--name", "mine.test", "--challenge", "tls-alpn-01")
            mine = await acme(proxy, "enable", *directory(pebble, tmp_path), *words)
            assert (mine["configured"], mine["names"]) == (False, ["mine.test"])
            assert await reload(proxy) == (0, "")
            assert (await acme(proxy, "status"))["sha256"] == mine["sha256"]
            await acme(proxy, "disable")
        async with scene(tmp_path, pebble, more) as (proxy, _):
            await proxy.certs_import(tmp_path / "root.pem")  # refused; and the keeper has had its turn
            assert await absent(proxy)
            assert await reload(proxy) == (0, "")
            assert await absent(proxy)
            done = await tlsproxy("reset", "--yes", "--scope", "customer", "--store", str(proxy.store))
            assert done.returncode == 0, done.stderr
            again = await come(proxy, "device.test")
            assert await shown(proxy.port) == again["sha256"]


@pytest.mark.parametrize("instead", [None, os.mkfifo])
async def test_a_file_that_is_not_there_is_told_and_looked_for_again(tmp_path, pebble, instead) -> None:
    more = table(tmp_path, pebble, "device.test")
    (tmp_path / "root.pem").unlink()
    if instead is not None:
        instead(tmp_path / "root.pem")
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble, more) as (proxy, _):
            told = await proxy.wait_log("finding", code="acme_configuration_unusable")
            assert "root.pem" in told["words"]
            assert await absent(proxy)
            (tmp_path / "root.pem").unlink(missing_ok=True)
            (tmp_path / "root.pem").write_bytes(pebble.server.ca_pem)
            assert await reload(proxy) == (0, "")
            await come(proxy, "device.test")


async def test_a_fallback_that_binds_accounts_to_customers_is_asked_where_the_first_is_gone(
    tmp_path, pebble
) -> None:
    more = table(tmp_path, pebble, "device.test")
    for one in ("eab_kid", "eab_key_file", "ca_file", "directory"):
        more = more.replace(f"\n{one} =", f"\nfallback_{one} =")
    gone = 'directory = "https://127.0.0.1:9/dir"\neab_kid = "x"\neab_key_file = "/never/read.txt"\n'
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble, more + gone) as (proxy, _):
            await proxy.wait_log("finding", code="acme_configuration_unusable")
            while (await acme(proxy, "status"))["failures"] != 1:  # noqa: ASYNC110
                await trio.sleep(0.1)
            for _ in range(2):
                await acme(proxy, "renew", code=1)
            status = await acme(proxy, "renew")
            assert (status["issued_by"], status["failures"]) == (pebble.server.directory, 0)
            assert await shown(proxy.port) == status["sha256"]
