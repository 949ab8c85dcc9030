"""Names that aren't wanted of the authority any more, as a person sees them."""

from __future__ import annotations

import pytest
import trio

from tests.authorities import pebble as pebbles
from tests.live.proxy_process import tlsproxy
from tests.live.test_acme import DEADLINE_S, acme, directory, scene


@pytest.fixture
def pebble(tmp_path_factory, pki):
    with pebbles.running(tmp_path_factory.mktemp("pebble"), pki) as running:
        yield running


async def test_what_is_left_is_told_and_goes_as_the_hint_says(tmp_path, pebble) -> None:
    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _):
            known, store = directory(pebble, tmp_path), ("--store", str(proxy.store))
            first = await acme(proxy, "enable", *known, "--name", "a.test")
            done = await tlsproxy("acme", "enable", *known, "--name", "b.test", *store, within_s=60)
            assert done.returncode == 0, done.stderr
            *_, told, hint = done.stdout.decode().splitlines()
            assert told.startswith("left         a.test isn't wanted of the ACME authority any more")
            words = hint.partition("tlsproxy ")[2].partition(" (")[0]
            remove = hint.rpartition("tlsproxy ")[2].split()
            assert words.startswith("acme enable")
            assert first["sha256"].startswith(remove[-1])
            await proxy.wait_log("finding", code="acme_names_left")
            health = await tlsproxy("status", "--json", *store)
            assert b"acme_names_left" in health.stdout
            done = await tlsproxy(*remove, *store)
            assert done.returncode == 0, done.stderr
            assert (await acme(proxy, "status"))["left"] == []
            both = await acme(proxy, "enable", *known, "--name", "a.test", "--name", "b.test")
            assert both["left"] == []
            listed = await tlsproxy("certs", "list", "--json", *store)
            assert listed.stdout.count(b'"source": "acme"') == 1, listed.stdout
