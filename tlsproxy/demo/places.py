"""Where the demo keeps what, and how its commands are written for somebody to paste.

Pure but for `here`, which asks how this program was started.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path(".demo")


@dataclass(frozen=True, slots=True)
class Places:
    """The demo's folder, and what lies in it."""

    folder: Path

    @property
    def store(self) -> Path:
        """The proxy's store."""
        return self.folder / "store"

    @property
    def inbox(self) -> Path:
        """Where certificates are dropped."""
        return self.store / "inbox"

    @property
    def control(self) -> Path:
        """Where the demo's proxy is asked."""
        return self.store / "run" / "control.sock"

    @property
    def device_socket(self) -> Path:
        """Where the sample device listens."""
        return self.folder / "device.sock"

    def certificate_command(self, program: str) -> str:
        """Write the line that makes another certificate and drops it here."""
        return f"{program} demo{self.option} certificate"

    @property
    def option(self) -> str:
        """What names this folder on a command line, with a blank before it; "" for the usual one."""
        return "" if self.folder == DEFAULT else f" --dir {shlex.quote(str(self.folder))}"


def here() -> str:
    """Write how this program is started, as shortly as works from the current folder."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{_short(Path(sys.executable))} -m tlsproxy"
    found = shutil.which("tlsproxy")
    if found and Path(found).resolve() == started.resolve():
        return "tlsproxy"
    return _short(started)


def _short(path: Path) -> str:
    absolute, current = path.absolute(), Path.cwd()
    return shlex.quote(str(absolute.relative_to(current) if absolute.is_relative_to(current) else absolute))
