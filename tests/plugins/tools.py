"""Programs of the system that tests start: where one is missing, the test is skipped, but CI fails.

`make test-deps` installs them all, and CI runs that first: a tool that is missing there would quietly take
its tests away.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

# program -> the Debian package that has it; "" where it comes by `make test-deps` alone
PACKAGES = {
    "curl": "curl",
    "openssl": "openssl",
    "scp": "openssh-client",
    "certutil": "libnss3-tools",
    "certtool": "gnutls-bin",
    "gnutls-cli": "gnutls-bin",
    "node": "nodejs",
    "javac": "openjdk-17-jdk-headless",
    "chromium": "chromium",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "promtool": "prometheus",
    "knotd": "knot",
    "pebble": "pebble",
    "pebble-challtestsrv": "pebble",
    "zsh": "zsh",
    "fish": "fish",
    "sslscan": "sslscan",
    "sslyze": "",
    "testssl": "testssl.sh",
    "caddy": "",
    "waitress-serve": "",
    "zbarimg": "zbar-tools",
}
# Where `make test-deps` puts programs of Python that can't live in our environment.
APART = os.pathsep.join(
    str(Path(__file__).parents[2] / name / "bin") for name in (".venv-scan", ".venv-acme")
)


@pytest.fixture
def tool() -> Callable[[str], str]:
    """Give the path of a program: `tool("curl")`."""
    return find


def find(program: str) -> str:
    """Give the path of a program; skip the test where it isn't there, or fail it in CI."""
    path = shutil.which(program) or shutil.which(program, path=APART)
    if path is None:
        package = PACKAGES[program]
        words = f"{program} is not here: " + (f"apt-get install {package}" if package else "make test-deps")
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return path


OLD_OPENSSL = Path(__file__).parents[2] / ".old-openssl"


def find_old_openssl(release: str) -> Path:
    """Give the folder that `make test-deps` has put "1.0.2" or "1.1.1" in; skip or fail as `find` does."""
    folder = OLD_OPENSSL / release
    if platform.machine() != "x86_64":
        pytest.skip(
            f"there is no OpenSSL {release} for {platform.machine()}: its wheels were made for x86_64"
        )
    if not folder.is_dir():
        words = f"OpenSSL {release} is not here: make test-deps"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return folder
