"""The service behind every proxy: nginx on the load's core, and an echo that speaks enough WebSocket."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import free_port, running
from benchmarks.server import TEMPLATES, Blank, NotServingError

BIG = "/big"
BIG_BYTES = 100_000_000
UP_S = 10.0


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Run the upstream until the block ends; gives its port. Raises NotServingError without nginx."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        raise NotServingError("nginx, which is the upstream, isn't installed: make bench-deps")
    files = folder / "files"
    files.mkdir(parents=True)
    with (files / BIG.lstrip("/")).open("wb") as big:
        big.truncate(BIG_BYTES)
    port, echo = free_port(), free_port()
    template = (TEMPLATES / "upstream.conf").read_text()
    config = folder / "upstream.conf"
    config.write_text(Blank(template).safe_substitute(port=port, echo=echo, folder=folder))
    command = [nginx, "-c", str(config), "-e", str(folder / "error.log"), "-p", str(folder)]
    command += ["-g", "user root;"] if os.getuid() == 0 else []
    echoing = [sys.executable, "-m", "benchmarks.echo", str(echo)]
    with running(command, folder / "nginx.log"), running(echoing, folder / "echo.log"):
        for each in (port, echo):
            _wait_listening(each)
        yield port


def _wait_listening(port: int) -> None:
    deadline = time.monotonic() + UP_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise NotServingError(f"the upstream doesn't listen: {error}") from error
            time.sleep(0.02)
        else:
            return
