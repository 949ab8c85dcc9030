"""The secrets of sessions are written nowhere, whatever the environment asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.live.proxy_process import running, write_config
from tests.live.test_hooks import collecting, refuse
from tests.live.test_resumption import visit
from tests.tlsproxy.tls_pair import client_context

DEADLINE_S = 120


@pytest.mark.parametrize("engine", ["system", "bundled"])
async def test_a_key_log_that_the_environment_asks_for_is_refused_and_told(tmp_path: Path, engine: str):
    """Python's `ssl.create_default_context` obeys SSLKEYLOGFILE; so do some builds of OpenSSL."""
    asked_for = tmp_path / "secrets.log"
    with trio.fail_after(DEADLINE_S), collecting() as collector:
        more = f'[tls]\nengine = "{engine}"\n[notify]\nwebhook = "http://127.0.0.1:{collector.server_port}/"'
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, more=more, top="workers = 1")
        async with running(config, env={"SSLKEYLOGFILE": str(asked_for)}) as proxy:
            told = await proxy.wait_log("key_log_refused")
            assert told["level"] == "warning"
            await trio.to_thread.run_sync(visit, proxy.port, client_context(version="TLSv1_3"), None)
            await refuse(proxy, tmp_path)
            await proxy.wait_log("notified")
    assert not asked_for.exists()
