"""`tlsproxy acme enable` where the authority isn't there, or isn't where somebody has typed."""

from __future__ import annotations

import pytest
import trio

from tests.authorities import pebble as pebbles
from tests.authorities.pebble import free_ports
from tests.live.proxy_process import running, tlsproxy, write_config
from tests.live.test_acme import DEADLINE_S, acme

WORDS = ("--name", "device.test", "--challenge", "tls-alpn-01", "--agree-tos")


@pytest.fixture
def pebble(tmp_path_factory, pki):
    with pebbles.running(tmp_path_factory.mktemp("pebble"), pki) as running_one:
        yield running_one


async def test_one_that_is_not_there_is_told_while_it_is_waited_for_and_asked_again(tmp_path) -> None:
    (port,) = free_ports(1)
    url = f"https://127.0.0.1:{port}/dir"
    with trio.fail_after(DEADLINE_S):
        async with running(write_config(tmp_path, {"/": "http://127.0.0.1:9"})) as proxy:
            store = ("--store", str(proxy.store))
            done = await tlsproxy("acme", "enable", "--directory", url, *WORDS, *store, within_s=60)
            assert done.returncode == 1
            why = f"the authority 127.0.0.1:{port} can't be reached: Connection refused"
            assert done.stderr.decode().splitlines() == [
                f"finding the account at 127.0.0.1:{port} ...",
                f"{why}; trying again ...",
            ]
            told = done.stdout.decode().splitlines()
            assert told[2] == "certificate  none yet"
            assert told[3] == f"failed       {why} [acme_unreachable]"
            assert told[5].strip().startswith("1 in a row; tried again from ")
            status = await acme(proxy, "status")
            assert (status["failures"], status["asking"]) == (1, True)
            await acme(proxy, "disable")
            assert not (proxy.store / "authority" / "accounts" / "terms.json").exists()


async def test_a_mistyped_url_keeps_nothing_and_the_hint_says_what_urls_look_like(tmp_path, pebble) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(pebble.server.ca_pem)
    url = pebble.server.directory.replace("/dir", "/acme")
    with trio.fail_after(DEADLINE_S):
        async with running(write_config(tmp_path, {"/": "http://127.0.0.1:9"})) as proxy:
            for wrong, with_root, told in (
                (url, ("--ca-file", str(root)), "there is no ACME directory at"),
                (pebble.server.directory, (), "shows a certificate that isn't trusted here"),
            ):
                words = ("--directory", wrong, *with_root, *WORDS, "--store", str(proxy.store))
                done = await tlsproxy("acme", "enable", *words, within_s=60)
                assert done.returncode == 1
                assert told in done.stderr.decode()
                assert ("https://CA/acme/acme/directory (step-ca)" in done.stderr.decode()) is bool(with_root)
                done = await tlsproxy("acme", "status", "--store", str(proxy.store))
                assert b"there is no ACME enrolment" in done.stderr
