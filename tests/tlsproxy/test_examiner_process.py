"""The examiner's processes: how they come and go, and what they can't do."""

from __future__ import annotations

import os
import resource
import select
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.confining import only_root_looks_in
from tests.examining import Keys, alone, assert_the_next_one_passes, fork_of, outcome, process_of, wait_gone
from tests.storing import candidate_of
from tlsproxy import policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.workers.examiner import ExaminerProcess


@pytest.fixture
def own_examiner() -> Iterator[ExaminerProcess]:
    """One that may be ruined."""
    with ExaminerProcess(TLSPolicy()) as examiner:
        yield examiner


def test_one_that_is_killed_while_idle_is_replaced_without_a_word(own_examiner, pki):
    assert_the_next_one_passes(own_examiner, pki)
    pid = process_of(own_examiner).pid
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
    assert_the_next_one_passes(own_examiner, pki)
    assert process_of(own_examiner).pid != pid


def test_one_that_is_killed_amidst_an_examination_takes_its_fork_along(own_examiner, pki):
    forks: list[int] = []

    def kill() -> None:
        forks.append(fork_of(own_examiner))
        os.kill(process_of(own_examiner).pid, signal.SIGKILL)
        wait_gone(forks[0])

    issued = pki.leaf()
    killed = outcome(own_examiner, alone(issued), Keys({issued.bundle().spki: issued.bundle().key}, kill))
    assert killed.codes == ["examination_failed"]
    assert "SIGKILL" in killed.words
    assert_the_next_one_passes(own_examiner, pki)


def test_a_fork_that_is_killed_costs_its_candidate_only(own_examiner, pki):
    pid = process_of(own_examiner).pid

    def kill() -> None:
        os.kill(fork_of(own_examiner), signal.SIGKILL)

    killed = outcome(own_examiner, alone(pki.leaf()), Keys(during=kill))
    assert killed.codes == ["examination_failed"]
    assert "SIGKILL" in killed.words
    assert_the_next_one_passes(own_examiner, pki)
    assert process_of(own_examiner).pid == pid


def test_a_process_that_is_stopped_is_found_out_and_replaced(own_examiner, pki, monkeypatch):
    monkeypatch.setattr(policy, "EXAMINER_END_S", 0.2)
    pid = process_of(own_examiner).pid
    stopping = Keys(during=lambda: os.kill(pid, signal.SIGSTOP))
    outcome(own_examiner, alone(pki.leaf()), stopping)
    assert_the_next_one_passes(own_examiner, pki)
    assert process_of(own_examiner).pid != pid
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("is_stopped", [False, True])
def test_closing_ends_the_process_and_leaves_no_zombie(pki, is_stopped, monkeypatch):
    with ExaminerProcess(TLSPolicy()) as examiner:
        assert_the_next_one_passes(examiner, pki)
        process = process_of(examiner)
        assert examiner._process is not None
        told = select.select([examiner._process._control], [], [], 30)[0]
        assert told, "what it says last lies there unread: no reason for it to end in disorder"
        if is_stopped:
            monkeypatch.setattr(policy, "EXAMINER_END_S", 0.2)
            os.kill(process.pid, signal.SIGSTOP)
    assert process.returncode == (-signal.SIGKILL if is_stopped else 0)
    assert not Path(f"/proc/{process.pid}").exists()


def test_before_and_after_its_time_everything_is_refused(pki):
    examiner = ExaminerProcess(TLSPolicy())
    assert outcome(examiner, candidate_of(pki.leaf())).codes == ["examination_failed"]
    with examiner:
        assert_the_next_one_passes(examiner, pki)
    assert outcome(examiner, candidate_of(pki.leaf())).codes == ["examination_failed"]
    (error,) = examiner.read("x", b"x").errors
    assert error.code == "examination_failed"


def test_one_that_can_not_be_started_refuses_until_it_can(own_examiner, pki, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        own_examiner.replace()
        refused = outcome(own_examiner, candidate_of(pki.leaf()))
        assert refused.codes == ["examination_failed"]
        assert "can't be started" in refused.words
    assert_the_next_one_passes(own_examiner, pki)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name)
def test_a_signal_to_the_whole_group_leaves_the_end_to_the_supervisor(own_examiner, pki, how):
    assert_the_next_one_passes(own_examiner, pki)
    pid = process_of(own_examiner).pid
    os.kill(pid, how)
    assert_the_next_one_passes(own_examiner, pki)
    assert process_of(own_examiner).pid == pid


SUPERVISOR = """
import sys, time
from certstore import Candidate
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.workers.examiner import ExaminerProcess

def known_key(spki):
    pid = examiner._process.process.pid
    fork = open(f"/proc/{pid}/task/{pid}/children").read().strip()
    print(pid, fork, flush=True)
    sys.stdin.read()

with ExaminerProcess(TLSPolicy()) as examiner:
    with examiner.examine(Candidate((("a.pem", open(sys.argv[1], "rb").read()),)), known_key):
        pass
"""


def test_a_supervisor_that_is_killed_leaves_no_process_behind(pki, tmp_path):
    path = tmp_path / "a.pem"
    path.write_bytes(pki.leaf().chain_pem)
    command = [sys.executable, "-c", SUPERVISOR, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        assert len(pids) == 2
        supervisor.kill()
    for pid in pids:
        wait_gone(pid)


# --- what it can't do


def niceness_reached(pid: int, wanted: int) -> bool:
    for _ in range(500):
        if os.getpriority(os.PRIO_PROCESS, pid) == wanted:
            return True
        time.sleep(0.01)
    return False


def test_a_candidate_that_takes_long_steps_back_behind_those_who_serve(pki):
    ours, seen = os.getpriority(os.PRIO_PROCESS, 0), list[int]()
    with ExaminerProcess(TLSPolicy()) as examiner:

        def look() -> None:
            fork = fork_of(examiner)
            seen.append(os.getpriority(os.PRIO_PROCESS, fork))
            assert niceness_reached(fork, min(19, ours + policy.EXAMINATION_NICENESS))

        outcome(examiner, alone(pki.leaf()), Keys(during=look))
    assert seen == [ours]


@only_root_looks_in
def test_a_fork_is_limited_before_it_has_a_file(own_examiner, pki):

    limits: dict[str, int] = {}
    status: list[str] = []
    networks: list[Path] = []

    def look() -> None:
        fork = fork_of(own_examiner)
        size = int(Path(f"/proc/{fork}/statm").read_text().split()[0]) * resource.getpagesize()
        limits["memory"] = resource.prlimit(fork, resource.RLIMIT_AS)[1] - size
        limits["open"] = len(list(Path(f"/proc/{fork}/fd").iterdir()))
        for name in ("CPU", "FSIZE", "NOFILE", "NPROC", "CORE"):
            limits[name] = resource.prlimit(fork, getattr(resource, f"RLIMIT_{name}"))[0]
        status.extend(Path(f"/proc/{fork}/status").read_text().splitlines())
        networks.append(Path(f"/proc/{fork}/ns/net").readlink())

    outcome(own_examiner, alone(pki.leaf()), Keys(during=look))
    assert 0 < limits["memory"] <= policy.EXAMINATION_MEMORY_BYTES
    assert limits["CPU"] == policy.EXAMINATION_S
    assert limits["FSIZE"] == policy.EXAMINATION_FILE_BYTES
    assert limits["open"] < limits["NOFILE"] == policy.EXAMINATION_DESCRIPTORS
    assert (limits["NPROC"], limits["CORE"]) == (0, 0)
    assert "NoNewPrivs:\t1" in status
    if _namespaces_are_allowed():
        assert networks != [Path("/proc/self/ns/net").readlink()]


def _namespaces_are_allowed() -> bool:
    tried = subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True, check=False)
    return tried.returncode == 0


@only_root_looks_in
def test_no_secret_stands_in_what_the_system_shows_of_its_processes(own_examiner, pki):
    shown: list[bytes] = []

    def look() -> None:
        for pid in (process_of(own_examiner).pid, fork_of(own_examiner)):
            shown.extend(Path(f"/proc/{pid}/{what}").read_bytes() for what in ("cmdline", "environ"))

    issued = pki.leaf()
    outcome(own_examiner, alone(issued), Keys({issued.bundle().spki: issued.bundle().key}, look))
    assert len(shown) == 4
    for text in shown:
        assert b"PRIVATE" not in text
        assert b"CERTIFICATE" not in text


@only_root_looks_in
def test_it_speaks_tls_with_the_limits_that_a_worker_has(pki, monkeypatch):
    monkeypatch.delenv("OPENSSL_CONF", raising=False)
    with ExaminerProcess(TLSPolicy(), "system") as examiner:
        assert_the_next_one_passes(examiner, pki)
        environ = Path(f"/proc/{process_of(examiner).pid}/environ").read_bytes().split(b"\0")
    named = [value for value in environ if value.startswith(b"OPENSSL_CONF=/proc/self/fd/")]
    assert len(named) == (0 if hasattr(ssl.SSLContext, "set_groups") else 1)


def test_its_process_imports_nothing_that_it_does_not_need():
    script = "import sys, tlsproxy.workers.examination; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "certstore" in loaded
    for heavy in ("trio", "starlette", "hypercorn", "httpx2", "rich", "click", "structlog", "watchfiles"):
        assert heavy not in loaded
