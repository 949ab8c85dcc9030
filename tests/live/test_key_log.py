"""The secrets of sessions: written nowhere but where `unsafe_key_log` says, and that is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from tests.live.proxy_process import running, tlsproxy, write_config
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


def secrets_in(file: Path) -> dict[bytes, set[tuple[bytes, bytes]]]:
    """Read a key log: by the random of the client's hello, each label with its secret."""
    found: dict[bytes, set[tuple[bytes, bytes]]] = {}
    for line in file.read_bytes().splitlines():
        if not line.startswith(b"#"):
            label, random, secret = line.split(b" ")
            found.setdefault(random, set()).add((label, secret))
    return found


@pytest.mark.parametrize("engine", ["system", "bundled"])
async def test_who_asks_for_a_key_log_gets_what_the_client_has_and_a_warning(
    tmp_path: Path, engine: str, tool
) -> None:
    ours, theirs = tmp_path / "ours.log", tmp_path / "theirs.log"
    with trio.fail_after(DEADLINE_S):
        more = f'[tls]\nengine = "{engine}"\nunsafe_key_log = "{ours}"'
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, more=more, top="workers = 2")
        checked = await tlsproxy("check", "--config", str(config))
        assert b"the secrets of all sessions" in checked.stdout
        async with running(config) as proxy:
            assert (await proxy.wait_log("key_log_written"))["level"] == "warning"
            assert {one["code"] for one in (await proxy.status())["troubles"]} == {"key_log_written"}
            assert ours.stat().st_mode & 0o777 == 0o600
            for version in ("-tls1_2", "-tls1_3"):
                connect = ("-connect", f"127.0.0.1:{proxy.port}", version, "-keylogfile", str(theirs))
                command = [tool("openssl"), "s_client", *connect]
                await trio.run_process(command, stdin=b"", capture_stdout=True, capture_stderr=True)
            wanted = secrets_in(theirs)
            assert len(wanted) == 2
            assert wanted.items() <= secrets_in(ours).items()

            config.write_text(config.read_text().replace(str(ours), str(tmp_path / "elsewhere.log")))
            refused = await tlsproxy("reload", "--config", str(config))
            assert b"the key log can't become" in refused.stderr

            config.write_text(config.read_text().replace("unsafe_key_log", "# unsafe_key_log"))
            since = len(proxy.log)
            assert (await tlsproxy("reload", "--config", str(config))).returncode == 0
            await proxy.wait_log("reloaded", since=since)
            assert (await proxy.status())["troubles"] == []
            before = ours.read_bytes()
            await trio.to_thread.run_sync(visit, proxy.port, client_context(version="TLSv1_3"), None)
            assert ours.read_bytes() == before


@pytest.mark.parametrize("what", ["a link", "open to others", "a pipe"])
async def test_a_key_log_that_others_could_read_or_lead_elsewhere_is_refused(
    tmp_path: Path, what: str
) -> None:
    file = tmp_path / "keys.log"
    if what == "a link":
        file.symlink_to(tmp_path / "elsewhere")
    elif what == "a pipe":
        os.mkfifo(file, 0o600)
    else:
        file.touch(0o644)
    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, more=f'[tls]\nunsafe_key_log = "{file}"')
    done = await tlsproxy("run", "--config", str(config))
    assert done.returncode == 1, done.stderr
    assert b"the key log" in done.stderr
    assert not (tmp_path / "elsewhere").exists()
