"""A candidate that ruins its examination, or takes it over: it is refused, and the next one passes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore import Candidate, Source, State, Store, TrustSet
from tests.confining import needs_landlock
from tests.examining import assert_the_next_one_passes, outcome, process_of
from tests.inboxing import looked_after
from tests.storing import candidate_of
from tlsproxy import policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.workers import prestarted
from tlsproxy.workers.examiner import ExaminerProcess

HOSTILE = """
import os, signal, sys, time
import tlsproxy.workers.examination as real
from certstore import Finding, InProcess, Severity, found
from tlsproxy.workers import conversation as said

def misbehave(how):
    if how == "abort":
        os.abort()
    elif how == "realtime":
        os.kill(os.getpid(), 35)
    elif how == "leave":
        os._exit(3)
    elif how == "hang":
        while True:
            time.sleep(60)
    elif how == "spin":
        while True:
            pass
    elif how == "devour":
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * (1 << 20)))
    elif how == "recurse":
        def again(): return again() + 1
        again()
    elif how == "panic":
        class PanicException(BaseException):
            pass
        raise PanicException("secret of the file")
    elif how == "write":
        with os.fdopen(os.memfd_create("loot"), "wb") as file:
            file.write(bytes(16 << 20))
    elif how == "keep":
        with open("/tmp/loot", "wb") as file:
            file.write(b"x")
    elif how == "read":
        open("/etc/passwd").close()
    elif how == "execute":
        os.execv("/bin/true", ["true"])
    elif how == "signal":
        os.kill(os.getppid(), 0)  # the examiner, in the same fence
        os.kill(1, 0)
    elif how == "call":
        import socket
        socket.create_connection(("127.0.0.1", 9))

class Hostile(InProcess):
    def read(self, name, content):
        misbehave(name)
        return super().read(name, content)

    def read_material(self, files):
        for name, _ in files:
            misbehave(name)
        return super().read_material(files)

    def examine(self, candidate, known_key):
        files = getattr(candidate, "files", ())
        for name, _ in files:
            misbehave(name)
        return super().examine(candidate, known_key)

say = said.Talk.say

def lie(talk, message):
    if isinstance(message, said.Refused):
        code = message.findings[0].code
        for finding in message.findings:
            if "garbled" in finding.words:
                talk._sock.sendall(b"\\0\\0\\0\\3xyz")
            elif "endless" in finding.words:
                talk._sock.sendall(b"\\xff\\xff\\xff\\xff")
            elif "half" in finding.words:
                talk._sock.sendall(b"\\0\\0\\1\\0half")
                os._exit(0)
            elif "invented" in finding.words:
                message = said.Refused((Finding("all_is_well", Severity.ERROR, "x", "y"),))
            elif "softened" in finding.words:
                message = said.Refused((Finding(code, Severity.NOTE, finding.words, finding.hint),))
            elif "terminal" in finding.words:
                message = said.Refused((Finding(code, Severity.ERROR, "\\x1b[2J", finding.hint),))
            elif "elsewhere" in finding.words:
                message = said.Judged(())
            elif "stolen" in finding.words:
                message = said.Assembled(b"", "0" * 64, b"", ())
    say(talk, message)

said.Talk.say = lie
real.InProcess = Hostile
real.main(sys.argv[1:])
"""


@pytest.fixture
def hostile(tmp_path, monkeypatch) -> Iterator[ExaminerProcess]:
    """One whose process does what the first file's name says."""
    (tmp_path / "hostile_examination.py").write_text(HOSTILE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(prestarted, "MODULE", "hostile_examination")
    monkeypatch.chdir(tmp_path)
    with ExaminerProcess(TLSPolicy()) as examiner:
        yield examiner


@needs_landlock
@pytest.mark.parametrize("how", ["keep", "read", "execute", "signal", "call"])
def test_a_file_that_takes_its_examination_over_reaches_nothing(hostile, pki, how):
    candidate = Candidate(((how, b"x"), *candidate_of(pki.leaf()).files))
    ruined = outcome(hostile, candidate)
    assert (ruined.codes, ruined.refused) == (["examination_failed"], True)
    # where Landlock knows no TCP, there is no network to call by: that is another error
    assert re.search("(Permission|OS)Error in", ruined.words)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("abort", "it was ended by SIGABRT"),
        ("realtime", "it was ended by signal 35"),  # which has no name
        ("leave", "it ended early, with exit code 3"),
        ("devour", "it took more than 256 MiB of memory"),
        ("recurse", "RecursionError in hostile_examination.py"),
        ("panic", "PanicException in hostile_examination.py"),
        ("write", "OSError in hostile_examination.py"),
    ],
)
def test_a_candidate_that_ruins_its_examination_is_refused_and_the_next_one_passes(hostile, pki, how, why):
    candidate = Candidate(((how, b"x"), *candidate_of(pki.leaf()).files))
    ruined = outcome(hostile, candidate)
    assert (ruined.codes, ruined.refused) == (["examination_failed"], True)
    assert why in ruined.words
    assert "secret" not in ruined.words
    assert_the_next_one_passes(hostile, pki)


@pytest.mark.parametrize("how", ["hang", "spin"])
def test_a_candidate_that_takes_for_ever_is_refused_at_its_deadline(hostile, pki, how, monkeypatch):
    assert_the_next_one_passes(hostile, pki)
    pid = process_of(hostile).pid
    with monkeypatch.context() as patch:
        patch.setattr(policy, "EXAMINATION_S", 0.3)
        late = outcome(hostile, Candidate(((how, b"x"),)))
    assert late.codes == ["examination_failed"]
    assert "took longer" in late.words
    assert process_of(hostile).pid != pid
    assert not Path(f"/proc/{pid}").exists()
    assert_the_next_one_passes(hostile, pki)


def test_a_file_that_ruins_its_reading_holds_nothing_and_the_next_one_is_read(hostile, pki):
    (failed,) = hostile.read("abort", b"x").errors
    assert failed.code == "examination_failed"
    assert hostile.read("a.pem", pki.leaf().cert_pem).certificates


@pytest.mark.parametrize("how", ["abort", "devour", "panic"])
def test_a_file_for_a_trust_set_that_ruins_its_reading_leaves_the_set_as_it_was(hostile, pki, tmp_path, how):
    with Store.open(tmp_path / "store", clock=lambda: datetime.now(UTC)) as store:
        read, good = hostile.read_material, [("ca.pem", pki.root_pem)]
        assert store.trust.put("plant", good, via="test", read=read).codes == ()
        ruined = store.trust.put("plant", [(how, b"x"), *good], via="test", read=read)
        assert (ruined.state, ruined.codes) == (State.REFUSED, ("examination_failed",))
        assert store.trust.read("plant") == TrustSet.of([pki.root])
        more = [("ca.pem", pki.root_pem + pki.intermediate_pem)]
        assert store.trust.put("plant", more, via="test", read=read).state is State.CONFIRMED


async def test_a_file_in_the_inbox_that_ruins_its_reading_is_refused_and_the_next_one_served(
    hostile, pki, tmp_path
):
    with Store.open(tmp_path / "store", clock=lambda: datetime.now(UTC)) as store:
        (tmp_path / "inbox").mkdir(mode=0o700)
        async with looked_after(store, tmp_path / "inbox", examiner=hostile, within_s=30) as inbox:
            inbox.put("abort", pki.leaf().chain_pem)
            refused = await inbox.receipt()
            assert (refused.state, refused.codes) == (State.REFUSED, ("examination_failed",))
            issued = pki.leaf()
            inbox.put("all.pem", issued.key_pem + issued.chain_pem)
            assert (await inbox.receipt(1)).state is State.CONFIRMED
            assert inbox.served() == issued.bundle().id


@pytest.mark.parametrize(
    "lie", ["garbled", "endless", "half", "invented", "softened", "terminal", "elsewhere", "stolen"]
)
def test_an_answer_that_makes_no_sense_is_a_refusal_of_ours(hostile, pki, lie):
    told = outcome(hostile, Candidate(((lie, b"nothing that can be read"),)))
    assert (told.codes, told.refused, told.bundle) == (["examination_failed"], True, None)
    assert_the_next_one_passes(hostile, pki)


def test_a_ruined_examination_leaves_what_is_served_and_the_next_import_works(hostile, pki, tmp_path):
    def propose(store, *files):
        return store.propose(Candidate(files), source=Source.CUSTOMER, via="test", examiner=hostile)

    first, second = pki.leaf(), pki.leaf()
    with Store.open(tmp_path / "store", clock=lambda: datetime.now(UTC)) as store:
        good = propose(store, *candidate_of(first).files)
        refused = propose(store, ("abort", b"x"), *candidate_of(second).files)
        assert (refused.state, refused.codes) == (State.REFUSED, ("examination_failed",))
        assert store.active is not None
        assert store.active.default == good.bundle
        assert propose(store, *candidate_of(second).files).state is State.CONFIRMED
