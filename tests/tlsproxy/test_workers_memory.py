"""The certificate that lies in memory only, which every worker can read, and write to."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.pki import Pki
from tlsproxy.workers.memory import Memory


def test_what_was_put_is_found_and_takes_the_place_of_what_was_there(pki: Pki) -> None:
    with closing(Memory()) as memory:
        assert memory.bundle() is None
        for issued in (pki.leaf(key="rsa"), pki.leaf()):
            memory.put(issued.bundle())
            assert memory.bundle() == issued.bundle()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fd: os.ftruncate(fd, 2**40),
        lambda fd: os.ftruncate(fd, 500),
        lambda fd: os.pwrite(fd, b"garbage", 0),
        lambda fd: os.pwrite(fd, b"\0" * 3000, 300),
    ],
)
def test_what_a_worker_has_spoiled_counts_as_nothing_and_another_can_be_put(
    pki: Pki, spoil: Callable[[int], object]
) -> None:
    """After a reload it would have ended the proxy, of which nothing on disk could be read."""
    with closing(Memory()) as memory:
        memory.put(pki.leaf().bundle())
        spoil(memory.fd)
        assert memory.bundle() is None
        memory.put(pki.leaf().bundle())
        assert memory.bundle() is not None
