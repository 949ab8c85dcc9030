"""The driver of the benchmark suite: what breaks is noted and left behind, and everything is ended."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.bench import Bench
from benchmarks.credentials import issue
from benchmarks.deadline import undisturbed, within
from benchmarks.figures import Figure, spread
from benchmarks.peers.rotation import by_hangup
from benchmarks.peers.table import Peer
from benchmarks.processes import running
from benchmarks.scenarios import hybrid
from benchmarks.scenarios.scenario import Scenario
from benchmarks.server import started
from tests.pki import Pki

# A whole server, though a small one: TLS, and an answer to each first request.
TINY = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    sock, _ = door.accept()
    try:
        with context.wrap_socket(sock, server_side=True) as tls:
            if tls.recv(65536):
                tls.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
                tls.unwrap()
    except OSError:
        pass
"""


def tiny(name: str) -> Peer:
    return Peer(name, sys.executable, ("-c", TINY, "@port", "@both"), (), ("--version",), by_hangup)


def work(measure, **more) -> Scenario:
    return Scenario("work", "Some work", "little", (Figure("cost", "us"),), measure, **more)


def test_a_measurement_that_breaks_is_noted_and_the_others_are_still_measured(tmp_path: Path):
    def measure(server, quick):
        assert quick
        if server.name == "bad":
            raise RuntimeError("it fell over")
        return {"cost": [1.0, 3.0]}

    bench = Bench(tmp_path, 9, quick=True)
    bench.run(work(measure), [tiny("bad"), tiny("good")], 1)
    assert bench.results.of("cost", "bad") is None
    assert bench.results.of("cost", "good") == spread([1.0, 3.0])
    assert bench.failures == ["bad: work: it fell over"]


def test_a_measurement_that_hangs_is_given_up_and_its_server_is_ended(tmp_path: Path):
    pids = []

    def measure(server, quick):
        pids.append(server.pid)
        signal.pause()
        raise AssertionError("nobody woke it")

    bench = Bench(tmp_path, 9, quick=True)
    bench.run(work(measure, limit_s=0.05, fresh=True), [tiny("stuck")], 1)
    assert bench.failures == ["stuck: work: not done within 0.05 s"]
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_who_is_not_installed_is_left_out_of_the_run_and_told_once(tmp_path: Path):
    absent = Peer("absent", "no-such-program", (), (), (), by_hangup)
    bench = Bench(tmp_path, 9, quick=True)
    assert [peer.name for peer in bench.installed([absent, tiny("here")])] == ["here"]
    assert bench.failures == ["absent: left out: not installed"]


def test_who_cannot_start_is_left_out_of_the_scenario_and_told(tmp_path: Path):
    broken = Peer("broken", sys.executable, ("-c", "exit('no door')"), (), ("--version",), by_hangup)
    bench = Bench(tmp_path, 9, quick=True)
    bench.run(work(lambda *_: {"cost": 1.0}), [broken, tiny("here")], 1)
    [failure] = bench.failures
    assert failure.startswith("broken: left out of work: ")
    assert failure.endswith("no door")
    assert bench.results.of("cost", "here") == spread([1.0])
    assert list(bench.versions) == ["here"]


def test_a_server_that_resumes_is_measured_full_and_resumed(tmp_path: Path):
    credentials = issue(Pki(), tmp_path / "credentials")
    with started(tiny("here"), 9, tmp_path / "server", credentials) as server:
        found = hybrid.ways(server)  # the hybrid group, too, where Python's OpenSSL knows it
    assert found["classical"] == (hybrid.CLASSICAL, False)
    assert found["classical_resumed"] == (hybrid.CLASSICAL, True)


def test_who_takes_no_part_is_not_started(tmp_path: Path):
    bench = Bench(tmp_path, 9, quick=True)
    bench.run(work(lambda *_: {"cost": 1.0}, without={"other": "for a reason"}), [tiny("other")], 1)
    assert bench.versions == {}
    assert bench.failures == []


def test_a_deadline_waits_while_processes_are_ended():
    steps = []

    def end() -> None:
        with within(0.01):
            with undisturbed():
                signal.sigwait({signal.SIGALRM})
                signal.raise_signal(signal.SIGALRM)
                steps.append("ended")
            steps.append("never")

    with pytest.raises(TimeoutError, match="not done within"):
        end()
    assert steps == ["ended"]


def test_a_worker_that_outlives_its_master_is_ended_too(tmp_path: Path):
    told = tmp_path / "told"
    os.mkfifo(told)
    worker = (
        "import os, pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(told)!r}).write_text(str(os.getpid())); signal.pause()"
    )
    master = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    with running([sys.executable, "-c", master], tmp_path / "log"):
        handle = os.pidfd_open(int(told.read_text()))
    try:
        assert select.select([handle], [], [], 10.0)[0] == [handle]
    finally:
        os.close(handle)
