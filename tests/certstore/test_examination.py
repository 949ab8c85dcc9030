"""An examination: what is told in which order, and who is not asked for nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certstore.circumstances import Circumstances
from certstore.decode import Candidate
from certstore.errors import Refusal
from certstore.examination import InProcess
from certstore.findings import found
from certstore.slots import Source
from certstore.store import Store
from tests.storing import Clock, OpenGate, ShutGate, candidate_of


def nobody(_spki):
    """Know no key."""


def test_a_good_candidate_gives_its_bundle_with_what_was_found_on_each_step(pki, now):
    issued = pki.leaf()
    spare = Candidate((*candidate_of(issued).files, ("spare.key", pki.leaf().key_pem)))
    gate = OpenGate(found("gate_skipped"))
    with InProcess(gate).examine(spare, nobody) as examination:
        assert examination.bundle == issued.bundle()
        assert [finding.code for finding in examination.findings] == ["key_unused"]
        judged = examination.judge(Circumstances(now + timedelta(days=10_000), clock_plausible=False))
    assert [finding.code for finding in judged] == ["expired_doubtful", "gate_skipped"]
    assert gate.tried == [issued.bundle()]


def test_files_that_make_no_bundle_are_refused_before_anything_is_judged(pki):
    candidate = Candidate((("lonely.pem", pki.leaf().cert_pem),))
    with pytest.raises(Refusal) as caught, InProcess().examine(candidate, nobody):
        pytest.fail("there is nothing to examine")
    assert [finding.code for finding in caught.value.findings] == ["certificate_without_key"]


def test_no_handshake_is_made_with_what_the_checks_refuse(pki, now):
    gate = OpenGate()
    examining = InProcess(gate).examine(pki.leaf().bundle(), nobody)
    with pytest.raises(Refusal) as caught, examining as examination:
        examination.judge(Circumstances(now + timedelta(days=10_000), clock_plausible=True))
    assert "expired" in [finding.code for finding in caught.value.findings]
    assert gate.tried == []


def test_what_the_checks_warn_of_is_told_before_what_the_gate_refuses(pki, now):
    examining = InProcess(ShutGate()).examine(pki.leaf(days=1000).bundle(), nobody)
    with pytest.raises(Refusal) as caught, examining as examination:
        examination.judge(Circumstances(now, clock_plausible=True))
    assert [finding.code for finding in caught.value.findings] == ["lifetime_too_long", "gate_failed"]


def test_a_certificate_alone_is_completed_by_the_key_that_is_here(pki):
    issued = pki.leaf()
    asked: list[str] = []

    def known_key(spki):
        asked.append(spki)
        return issued.bundle().key

    with InProcess().examine(Candidate((("new.pem", issued.chain_pem),)), known_key) as examination:
        assert examination.bundle == issued.bundle()
    assert asked == [issued.bundle().spki]


@pytest.mark.parametrize("sealed", [False, True])
def test_what_is_served_already_or_may_not_change_is_not_judged(tmp_path, pki, now, sealed):
    clock = Clock(now)
    first = pki.leaf()
    with Store.open(tmp_path / "s", clock=clock) as store:
        store.propose(candidate_of(first), source=Source.CUSTOMER, via="test", examiner=InProcess())
        (slot,) = store.slots()
        store._activation.write_slot(replace(slot, sealed=sealed))
    with Store.open(tmp_path / "s", clock=clock) as store:
        clock.go(days=10_000)
        again = candidate_of(pki.leaf() if sealed else first)
        receipt = store.propose(again, source=Source.CUSTOMER, via="test", examiner=InProcess(ShutGate()))
    assert receipt.codes == (("slot_sealed",) if sealed else ("already_live",))
