"""A bundle of a proxy that runs as a user of its own: what root sees, and what the user itself sees."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.live.as_root import UID, Stage, stage
from tests.live.peers import http_service
from tests.live.proxy_process import running, write_config

DEADLINE_S = 120


@pytest.fixture
def here() -> Iterator[Stage]:
    with stage() as found:
        yield found


async def bundle(here: Stage, config: Path, file: Path, uid: int) -> dict[str, str]:
    """Make a bundle as a user; give its files."""
    with trio.fail_after(DEADLINE_S):
        await trio.run_process(
            [here.python, "-m", "tlsproxy", "support", str(file), "--config", str(config)],
            env={**os.environ, **here.env},
            capture_stdout=True,
            user=uid,
            group=uid,
            extra_groups=[],
        )
    return inside(file, uid)


def inside(file: Path, uid: int) -> dict[str, str]:
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (uid, 0o600)
    with tarfile.open(file) as archive:
        opened = {name.partition("/")[2]: archive.extractfile(name) for name in archive.getnames()}
        return {name: one.read().decode() for name, one in opened.items() if one is not None}


async def test_root_sees_the_processes_and_the_user_itself_all_else(here: Stage) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(here.folder, {"/": f"http://127.0.0.1:{http}"}, top=f'user = "{UID}"')
            config.chmod(0o644)
            wide = here.folder / "mine"
            wide.mkdir()
            os.chown(wide, UID, UID)
            start = partial(running, config, env=dict(here.env), python=here.python)
            async with start() as proxy:
                by_root = await bundle(here, config, here.folder / "root.tar.gz", 0)
                by_user = await bundle(here, config, wide / "user.tar.gz", UID)
                left = list((here.folder / "store").rglob("*"))
    assert {path.stat().st_uid for path in left if path.exists()} == {UID}
    assert by_root.keys() == by_user.keys()
    seen: list[dict[str, Any]] = json.loads(by_root["processes.json"])
    assert seen[0]["pid"] == proxy.process.pid
    assert len(seen) >= 3  # the supervisor, an examiner, a worker
    for one in seen:
        assert one["pss_bytes"] > 1_000_000
        assert one["descriptors"] > 3
        assert any("_rust" in path or "libssl" in path for path in one["libraries"])
    assert f"127.0.0.1:{proxy.port}  tlsproxy" in by_root["listening.txt"]
    hidden: list[dict[str, Any]] = json.loads(by_user["processes.json"])
    assert [one["pid"] for one in hidden] == [one["pid"] for one in seen]
    assert {one["pss_bytes"] for one in hidden} == {None}, "their memory is hidden even from their own user"
    assert json.loads(by_user["health.json"])["ready"]
