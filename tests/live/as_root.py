"""What a test needs that starts the proxy as root and has it become somebody: a place and a Python for both.

A test run's own folders, and often its Python, lie where only root may look.
"""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UID = 64_001  # nobody's: no account has it, and no file
OTHER_UID = 64_002


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder of root's that everybody may enter, a Python that everybody may start, and its environment."""

    folder: Path
    python: str
    env: Mapping[str, str]


@contextmanager
def stage() -> Iterator[Stage]:
    """Make one; the test is skipped where we are not root, or another user couldn't run this code."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else: run the tests as root")
    python = _python()
    with tempfile.TemporaryDirectory(prefix="tlsproxy-root-") as folder:
        Path(folder).chmod(0o755)
        probe = Path(folder, "probe")
        probe.mkdir()
        (probe / "sitecustomize.py").write_text(PROBE)
        packages = os.pathsep.join([str(probe), str(ROOT), sysconfig.get_path("purelib")])
        env = {"TLSPROXY_UNSAFE_AS_ROOT": "0", "PYTHONPATH": packages, "PROBED": folder}
        yield Stage(Path(folder), python, env)


# In every process of the proxy: at SIGUSR1 it says on stderr, as a line of the log, what it can do.
PROBE = """
import errno, json, os, signal, socket

folder = os.environ["PROBED"]
store = f"{folder}/store"

def bundle():
    return f"{store}/bundles/{os.listdir(store + '/bundles')[0]}/key.pem"

def connect(port):
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", port))

attempts = {
    "read shadow": lambda: open("/etc/shadow").close(),
    "read passwd": lambda: open("/etc/passwd").close(),
    "read authority": lambda: open(f"{store}/authority/secret").close(),
    "read receipts": lambda: os.listdir(f"{store}/receipts"),
    "read a key": lambda: open(bundle()).close(),
    "write a key": lambda: open(bundle(), "r+").close(),
    "write the store": lambda: open(f"{store}/receipts/probe", "x").close(),
    "move within the store": lambda: os.rename(f"{store}/receipts/probe", f"{store}/inbox/probe"),
    "remove from the store": lambda: os.unlink(f"{store}/inbox/probe"),
    "write outside": lambda: open(f"{folder}/outside/{os.getpid()}", "x").close(),
    "execute": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "listen": lambda: socket.create_server(("127.0.0.1", 0)).close(),
    "connect to the upstream": lambda: connect(int(open_ports[0])),
    "connect elsewhere": lambda: connect(int(open_ports[1])),
    "signal another": lambda: os.kill(int(os.environ["STRANGER"]), 0),
    "be root": lambda: os.setuid(0),
}

def attempt(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return ""

def probe(*_):
    found = {name: attempt(act) for name, act in attempts.items()}
    os.write(2, json.dumps({"event": "probed", "pid": os.getpid(), "found": found}).encode() + b"\\n")

open_ports = os.environ.get("PORTS", "0,0").split(",")
signal.signal(signal.SIGUSR1, probe)
"""


def privileged_port() -> int:
    """Give a free port that only root may bind; skip the test where everybody may."""
    limit = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    for port in range(limit - 1, 0, -1):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip("here everybody may bind every port")


def status_of(pid: int | str) -> dict[str, str]:
    """Read what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def statuses_of(pid: int) -> list[dict[str, str]]:
    """Read what the kernel says of each thread of a process; one that ends meanwhile is passed by."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(status_of(f"{pid}/task/{task.name}"))
    return found


def _python() -> str:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        if _all_may_run(candidate):
            break
    else:
        pytest.skip(f"no other user can start {version} here")
    if not all(_all_may_enter(Path(folder)) for folder in (ROOT, sysconfig.get_path("purelib"))):
        pytest.skip("no other user can read this clone, or its environment")
    return candidate


def _all_may_run(file: str) -> bool:
    path = Path(file)
    return path.exists() and bool(path.stat().st_mode & 1) and _all_may_enter(path.parent)


def _all_may_enter(folder: Path) -> bool:
    return all(place.stat().st_mode & 1 for place in (folder, *folder.parents))
