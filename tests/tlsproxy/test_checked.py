"""What a pre-flight has read and the new image reads instead of the file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.tlsproxy.test_reload import Executed, executed, log, refused, reloader, unfenced
from tlsproxy import checked, reload
from tlsproxy.errors import ReloadError

__all__ = ["executed", "log", "unfenced"]

READS = "import os; os.write(int(os.environ['TLSPROXY_CHECKED']), {text!r})"


class Images(Executed):
    """Looks at the configuration that each image would have found."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: list[bytes | None] = []

    def __call__(self, path, arguments, environment) -> None:
        fd = checked.find(environment)
        self.contents.append(None if fd is None else os.pread(fd, 1000, 0))
        if fd is not None:
            assert os.get_inheritable(fd)
            with pytest.raises(PermissionError):
                os.write(fd, b"x")
        super().__call__(path, arguments, environment)


def kept() -> list[str]:
    """Name the files of this kind that this process has open."""
    names = [link_of(path) for path in Path("/proc/self/fd").iterdir()]
    return [name for name in names if "tlsproxy-configuration" in name]


def link_of(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:  # of the listing itself
        return ""


async def test_the_new_image_gets_the_bytes_that_its_preflight_has_found_good(tmp_path, monkeypatch) -> None:
    images = Images()
    monkeypatch.setattr(os, "execve", images)
    async with reloader(tmp_path) as (_, subject):

        async def fly(program: str) -> None:
            monkeypatch.setattr(reload, "_command", lambda: [sys.executable, "-c", program])
            await subject.check()

        await fly(READS.format(text=b"first"))
        await refused(subject)
        await fly(READS.format(text=b"second"))
        with pytest.raises(ReloadError):
            await fly(READS.format(text=b"broken") + "; raise SystemExit(2)")
        await refused(subject)
        await fly("")  # a version that reads the file itself, or a command line without one
        await refused(subject)
        assert images.contents == [b"first", b"second", None]
        assert not kept()


def test_what_is_handed_over_is_told_and_read_once() -> None:
    fd = checked.make()
    environment = dict(checked.named(fd))
    assert checked.find(environment) == fd
    assert checked.find(environment) is None
    assert checked.take(fd) == b"", "and it is open still"
    checked.put(os.dup(fd), b"store")
    assert checked.seal(fd)
    assert checked.take(fd) == b"store"
    with pytest.raises(OSError):
        os.fstat(fd)
