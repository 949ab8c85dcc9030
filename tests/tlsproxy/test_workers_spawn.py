"""Children of ours: what they are given, what they aren't, and how they speak TLS."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import EngineName
from tlsproxy.workers.spawn import descriptors, spawn

CHILD = """
import json, os, sys
from tlsproxy.workers.spawn import descriptors

given = descriptors(sys.argv[1:])
conf = os.environ.get("OPENSSL_CONF")
try:
    text = open(conf).read() if conf else None
except OSError:
    text = "unreadable"
open_ones = [fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")]
told = {
    "arguments": sys.argv[1:],
    "conf": conf,
    "text": text,
    "leads": os.getsid(0) == os.getpid(),
    "open": [os.readlink(f"/proc/self/fd/{fd}") for fd in open_ones],
    "decoy": "decoy" in sys.modules,
}
os.write(given["out"], json.dumps(told).encode())
"""


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Start a child that tells about itself, with what spawn is to be given."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "child_of_ours.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.delenv("OPENSSL_CONF", raising=False)

    def ask(engine: EngineName = "bundled", *arguments: str) -> dict[str, Any]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(30)
            fds = {"out": theirs.fileno()}
            child = spawn("child_of_ours", fds=fds, engine=engine, policy=TLSPolicy(), arguments=arguments)
            theirs.close()
            with child:
                said = b"".join(iter(lambda: ours.recv(65_536), b""))
        assert child.returncode == 0
        told: dict[str, Any] = msgspec.json.decode(said)
        return told

    return ask


def test_a_child_gets_its_arguments_and_its_descriptors_by_name(ask):
    told = ask("bundled", "--number=3", "word")
    assert told["arguments"][:2] == ["--number=3", "word"]
    assert list(descriptors(told["arguments"])) == ["out"]


def test_a_child_gets_no_descriptor_that_is_not_named(ask, tmp_path):
    secret = os.open(tmp_path / "modules" / "child_of_ours.py", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        opened = ask()["open"]
    finally:
        os.close(secret)
    assert not [path for path in opened if path.endswith("child_of_ours.py")]
    assert len([path for path in opened if path.startswith("socket:")]) == 1


def test_ctrl_c_in_our_terminal_does_not_reach_a_child(ask):
    assert ask()["leads"]


def test_the_folder_that_we_stand_in_holds_no_modules_for_a_child(ask, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("import decoy")
    (tmp_path / "decoy.py").touch()
    monkeypatch.chdir(tmp_path)
    assert not ask()["decoy"]


def test_a_child_of_the_system_engine_reads_our_groups_and_suites(ask):
    text = ask("system")["text"]
    assert "X25519" in text
    assert "TLS_AES_128_GCM_SHA256" in text


def test_a_child_of_the_bundled_engine_needs_no_configuration(ask):
    assert ask("bundled")["conf"] is None


@pytest.mark.parametrize("engine", ["system", "bundled"])
def test_a_configuration_that_the_user_named_wins(ask, engine, tmp_path, monkeypatch):
    mine = tmp_path / "openssl.cnf"
    mine.write_text("# mine\n")
    monkeypatch.setenv("OPENSSL_CONF", str(mine))
    assert ask(engine)["text"] == "# mine\n"


@pytest.mark.parametrize(("engine", "has_one"), [("system", True), ("bundled", False)])
def test_one_that_we_were_started_with_ourselves_is_made_anew(ask, engine, has_one, monkeypatch):
    monkeypatch.setenv("OPENSSL_CONF", "/proc/self/fd/999")
    told = ask(engine)
    assert (told["text"] not in {None, "unreadable"}) is has_one
    assert (told["conf"] is not None) is has_one


def test_a_program_that_can_not_be_started_leaves_no_descriptor_open(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere"))
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    with pytest.raises(FileNotFoundError):
        spawn("child_of_ours", fds={}, engine="system", policy=TLSPolicy())
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


def test_a_configuration_that_cannot_be_written_leaves_no_descriptor_open(monkeypatch):
    monkeypatch.delenv("OPENSSL_CONF", raising=False)
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            spawn("child_of_ours", fds={}, engine="system", policy=TLSPolicy())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before
