"""`tlsproxy demo` as a user runs it, known by what it says on its terminal."""

from __future__ import annotations

import contextlib
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread

START_S = 30.0
PROGRAM = [sys.executable, "-m", "tlsproxy", "demo"]


@dataclass
class Demo:
    """A running demo; `said` grows with every line."""

    process: subprocess.Popen[str]
    folder: Path
    said: list[str]
    grew: Condition

    @property
    def inbox(self) -> Path:
        return self.folder / "store" / "inbox"

    @property
    def url(self) -> str:
        return self.wait_said(r"open +(https://\S+)")[1]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def wait_said(self, pattern: str, *, since: int = 0) -> re.Match[str]:
        """Wait until a line holds `pattern`, and give the match."""
        end = time.monotonic() + START_S
        with self.grew:
            while True:
                for line in self.said[since:]:
                    if match := re.search(pattern, line):
                        return match
                assert self.process.poll() is None or self.said[-1:] != [""], self.said
                left = end - time.monotonic()
                assert left > 0, f"never said {pattern!r}: {self.said}"
                self.grew.wait(left)

    def certificate(self, *options: str) -> None:
        """Run the line that the demo asks its user to paste, and wait until it is live."""
        since = len(self.said)
        command = [*PROGRAM, "--dir", str(self.folder), "certificate", *options]
        subprocess.run(command, check=True, capture_output=True, timeout=START_S)
        self.wait_said(r"^live ", since=since)

    def certificate_pem(self) -> str:
        """Fetch what a new connection is served with."""
        return ssl.get_server_certificate(("127.0.0.1", self.port), timeout=START_S)

    def device_pids(self) -> list[int]:
        """Find the device's process among the demo's children; the others are the proxy's."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        pids = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
        return [
            int(pid) for pid in pids if b"tlsproxy.demo.device" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def _follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.grew:
                self.said.append(line.rstrip("\n"))
                self.grew.notify_all()
        with self.grew:
            self.said.append("")  # its end
            self.grew.notify_all()


@contextmanager
def running_demo(folder: Path, *options: str) -> Iterator[Demo]:
    """Run `tlsproxy demo` on a free port until the block ends; then Ctrl-C must end it, with code 0."""
    process = subprocess.Popen(
        [*PROGRAM, "--listen", "localhost:0", "--dir", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    demo = Demo(process, folder, [], Condition())
    reader = Thread(target=demo._follow)
    reader.start()
    try:
        demo.wait_said("Ctrl-C ends it")
        yield demo
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            assert process.wait(START_S) == 0, demo.said
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()
