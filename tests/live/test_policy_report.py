"""`tlsproxy policy report`: counted over all workers, over a reload, and by what clients can do."""

from __future__ import annotations

import json
import signal
import ssl
from pathlib import Path
from typing import Any

import trio

from tests.live.https_client import trusting_nobody
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.tlsproxy.test_tls_old_clients import RSA_CBC, TLS10, TLS12, hello
from tlsproxy.tls.ja4 import ja4_of

DEADLINE_S = 90
OLD = hello(TLS10, (RSA_CBC,))
WITHOUT_PFS = hello(TLS12, (RSA_CBC,))


async def greeted(proxy: Proxy, newest: ssl.TLSVersion) -> None:
    context = trusting_nobody()
    context.maximum_version = newest
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", proxy.port, ssl_context=context)
    await stream.do_handshake()
    await trio.aclose_forcefully(stream)


async def refused(proxy: Proxy, data: bytes) -> int:
    """Send a hello; gives the alert that comes."""
    async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as stream:
        await stream.send_all(data)
        answer = b""
        while more := await stream.receive_some():
            answer += more
        return answer[-1]


async def report(proxy: Proxy) -> Any:
    done = await tlsproxy("policy", "report", "--store", str(proxy.store), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_it_says_whom_a_stricter_profile_would_cut_off_and_who_is_refused(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 2")
            async with running(config) as proxy:
                nothing = await report(proxy)
                assert nothing["hellos"] == nothing["refused"] == []
                for _ in range(3):
                    await greeted(proxy, ssl.TLSVersion.TLSv1_2)
                for _ in range(7):
                    await greeted(proxy, ssl.TLSVersion.TLSv1_3)
                assert [await refused(proxy, OLD), await refused(proxy, WITHOUT_PFS)] == [70, 40]
                assert await refused(proxy, WITHOUT_PFS) == 40
                since = len(proxy.log)
                proxy.process.send_signal(signal.SIGHUP)
                await proxy.wait_log("reloaded", since=since)
                found = await report(proxy)
                assert found["since"] == nothing["since"]
                by_version: dict[str, int] = {}
                for one in found["hellos"]:
                    by_version[one["version"]] = by_version.get(one["version"], 0) + one["count"]
                assert by_version == {"TLSv1.3": 7, "TLSv1.2": 3 + 2, "older": 1}
                assert found["cut_off"][0] == {"profile": "modern", "count": 5, "of": 12}
                assert sum(one["count"] for one in found["handshakes"]) == 10
                assert found["refused"] == [
                    {"reason": "no_shared_cipher", "ja4": ja4_of(WITHOUT_PFS), "count": 2},
                    {"reason": "unsupported_version", "ja4": ja4_of(OLD), "count": 1},
                ]
                done = await tlsproxy("policy", "report", "--store", str(proxy.store))
                assert b"modern   would cut off 5 of 12 connections (41.7 %)" in done.stdout
                assert f"{ja4_of(OLD)}" in done.stdout.decode()
