"""Programs of the system that tests start: where one is missing, the test is skipped, but CI fails.

`make test-deps` installs them all, and CI runs that first: a tool that is missing there would quietly take
its tests away.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

# program -> the Debian package that has it
PACKAGES = {
    "curl": "curl",
    "openssl": "openssl",
    "scp": "openssh-client",
    "certutil": "libnss3-tools",
    "certtool": "gnutls-bin",
    "chromium": "chromium",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "promtool": "prometheus",
}


@pytest.fixture
def tool() -> Callable[[str], str]:
    """Give the path of a program: `tool("curl")`."""
    return find


def find(program: str) -> str:
    """Give the path of a program; skip the test where it isn't there, or fail it in CI."""
    path = shutil.which(program)
    if path is None:
        words = f"{program} is not here: apt-get install {PACKAGES[program]}"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return path
