"""The law of the examiner: whatever the files are, its process says what an examination here says."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certstore import Candidate, InProcess
from tests.examining import outcome
from tests.pki import Issued, Pki
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.gate import HandshakeGate
from tlsproxy.workers.examiner import ExaminerProcess


@pytest.fixture(scope="module")
def examiner() -> Iterator[ExaminerProcess]:
    with ExaminerProcess(TLSPolicy()) as examiner:
        yield examiner


@pytest.fixture(scope="module")
def issued(pki: Pki) -> Issued:
    return pki.leaf(("device.test", "*.device.test", "192.0.2.7"))


def armoured(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n".encode()


def damaged(data: st.DataObject, pem: bytes) -> bytes:
    """Give the DER in `pem` with some bytes changed, so that more than the armour is looked into."""
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    der = bytearray(base64.b64decode(body))
    for at in data.draw(st.lists(st.integers(0, len(der) - 1), max_size=3)):
        der[at] = data.draw(st.integers(0, 255))
    return bytes(der)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_candidate_gets_the_same_findings_in_the_examiners_process_as_here(examiner, issued, data):
    files = (
        ("a.key", armoured("PRIVATE KEY", damaged(data, issued.key_pem))),
        ("a.pem", armoured("CERTIFICATE", damaged(data, issued.cert_pem))),
        ("more", data.draw(st.binary(max_size=50))),
    )
    candidate = Candidate(files[: data.draw(st.integers(1, 3))])
    here = InProcess(HandshakeGate(TLSPolicy()))
    assert outcome(examiner, candidate) == outcome(here, candidate)
    for name, content in candidate.files:
        assert examiner.read(name, content) == here.read(name, content)
