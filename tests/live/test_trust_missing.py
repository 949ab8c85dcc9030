"""A rule whose trust set isn't there: nobody is let in, and start, reload, check and doctor all say so."""

from __future__ import annotations

import json
from pathlib import Path

import trio

from tests.live.peers import http_service
from tests.live.proxy_process import running, tlsproxy, write_config
from tests.live.test_client_certificates import Shower, client, trust
from tests.pki import Pki

DEADLINE_S = 120
RULE = """
[[client_auth]]
names = ["api.test"]
trust = "{name}"
"""


async def said(*words: str) -> tuple[int, str]:
    done = await tlsproxy(*words)
    return done.returncode, (done.stdout + done.stderr).decode()


async def test_a_reload_that_asks_by_a_set_that_is_not_there_says_so(tmp_path: Path, pki: Pki) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            routes = {"/": f"http://127.0.0.1:{http}"}
            config = write_config(tmp_path, routes, more=RULE.format(name="plant"))
            where = ("--config", str(config))
            async with running(config) as proxy:
                await proxy.wait_log("finding", code="trust_missing")
                show = Shower(tmp_path, proxy.port)
                assert await show.refused(client(pki)) != ""
                code, words = await said("check", *where)
                assert (code, "no authority is known for the set plant" in words) == (0, True)
                assert (await trust(proxy, tmp_path, pki.root_pem))[0] == 0
                assert "no authority" not in (await said("check", *where))[1]
                assert (await show.get(client(pki)))[0] == 200
                server = f"127.0.0.1:{proxy.port}"
                code, words = await said("doctor", server, "--servername", "api.test", "--json")
                assert "server_wants_certificate" in words
                assert "server_new_version_only" not in words
                config.write_text(config.read_text().replace('"plant"', '"other"'))
                since = len(proxy.log)
                code, words = await said("reload", *where)
                assert (code, "trust_missing" in words, "the set other" in words) == (0, True, True)
                await proxy.wait_log("finding", code="trust_missing", since=since)
                code, words = await said("reload", *where, "--json")
                assert [one["code"] for one in json.loads(words)["findings"]] == ["trust_missing"]
                assert "trust_missing" in (await said("doctor", *where, "--json"))[1]
            assert "trust_missing" in (await said("doctor", *where, "--json"))[1]
