"""Which boot it is, and how long it has been running."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsproxy.boottime import boot_clock


def test_the_kernel_tells_which_boot_it_is_and_its_seconds_go_on():
    clock, another = boot_clock(), boot_clock()
    assert clock().boot == another().boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert 0 < clock().seconds <= clock().seconds


@pytest.mark.parametrize("content", [None, b"", b"\xff\n"])
def test_where_the_kernel_tells_none_every_start_is_another_boot(tmp_path, content):
    path = tmp_path / "boot_id"
    if content is not None:
        path.write_bytes(content)
    clock, another = boot_clock(path), boot_clock(path)
    assert clock().boot == clock().boot != another().boot
