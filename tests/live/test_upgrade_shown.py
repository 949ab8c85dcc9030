"""An upgrade that lies on the disk is not told as live before the reload that brings it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import trio

from tests.live.peers import http_service
from tests.live.proxy_process import running, tlsproxy, write_config

DEADLINE_S = 120
# Stands for a library that is replaced on the disk: read by each new image of Python, and by no old one.
INSTALLED = "import ssl\nssl.OPENSSL_VERSION = 'OpenSSL {}'\n"


async def versions(config: Path, file: Path) -> Any:
    done = await tlsproxy("support", str(file), "--config", str(config))
    assert done.returncode == 0, done.stderr
    with tarfile.open(file) as archive:
        name = next(name for name in archive.getnames() if name.endswith("/versions.json"))
        opened = archive.extractfile(name)
        assert opened is not None
        return json.loads(opened.read())


async def test_a_new_library_is_told_as_loaded_only_after_the_reload(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    installed = overlay / "sitecustomize.py"
    installed.write_text(INSTALLED.format("3.0.1"))
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 1")
            async with running(config, env={"PYTHONPATH": str(overlay)}) as proxy:
                assert (await proxy.status())["software"]["openssl_system"] == "OpenSSL 3.0.1"
                installed.write_text(INSTALLED.format("3.0.2"))
                before = await versions(config, tmp_path / "before.tar.gz")
                assert before["running"]["openssl_system"] == "OpenSSL 3.0.1"
                assert before["running"]["epoch"] == 1
                assert before["installed"]["cryptography"]
                workers = await tlsproxy("workers", "--config", str(config), "--json")
                (old,) = json.loads(workers.stdout)["workers"]
                done = await tlsproxy("reload", "--config", str(config))
                assert done.returncode == 0, done.stderr
                after = await versions(config, tmp_path / "after.tar.gz")
                assert after["running"]["openssl_system"] == "OpenSSL 3.0.2"
                assert after["running"]["epoch"] == 2
                workers = await tlsproxy("workers", "--config", str(config), "--json")
                new = json.loads(workers.stdout)["workers"][-1]
                assert (new["epoch"], new["stage"]) == (2, "accepting")
                assert new["since"] > old["since"]
