"""The examiner as a process says what an examination in this process says."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import Candidate, Content, Examiner, InProcess
from tests.examining import NOW, Keys, Outcome, outcome
from tests.intake import corpus
from tests.live.test_broken_candidates import kinds
from tests.pki import crl
from tests.storing import candidate_of
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import EngineName
from tlsproxy.tls.gate import HandshakeGate
from tlsproxy.workers.examiner import ExaminerProcess

# What needs a passphrase, or costs too much; it goes to the process with the files.
OPENED = frozenset(
    {
        *("p12-openssl-rc2-40", "p12-umlauts-aes", "p12-wrong-passphrase", "p12-without-passphrase"),
        *("key-old-aes256", "zip-of-p12", "hostile-p12-mac-3000000", "hostile-scrypt-memory", "zip-in-zip"),
    }
)


def in_process(engine: EngineName = "auto") -> Examiner:
    return InProcess(HandshakeGate(TLSPolicy(), engine))


@pytest.fixture(scope="module")
def examiner() -> Iterator[ExaminerProcess]:
    with ExaminerProcess(TLSPolicy()) as examiner:
        yield examiner


def the_kinds(pki) -> dict[str, Candidate]:
    dropped = {
        kind: Candidate(tuple((name, data) for name, data in one.files.items() if isinstance(data, bytes)))
        for kind, one in kinds(pki).items()
    }
    good, rsa, spare = pki.leaf(), pki.leaf(key="rsa"), pki.leaf()
    return dropped | {
        "good": candidate_of(good),
        "RSA": candidate_of(rsa),
        "self-signed": candidate_of(pki.leaf(issuer=None)),
        "with a spare key": Candidate((*candidate_of(good).files, ("spare.key", spare.key_pem))),
        "without its chain": Candidate((("a.pem", good.cert_pem), ("a.key", good.key_pem))),
        "for a thousand days": candidate_of(pki.leaf(days=1000)),
        "with a key that browsers refuse": candidate_of(pki.leaf(key="ed25519")),
        "a name that no text can hold": Candidate((("\udcff\ud800.pem", b"nonsense"),)),
        "nothing at all": Candidate(()),
        **{case.name: case.candidate for case in corpus() if case.name in OPENED},
    }


@pytest.mark.parametrize(
    "files",
    [
        lambda pki: [("ca.pem", pki.root_pem + pki.intermediate_pem)],
        lambda pki: [("all.pem", pki.root_pem + crl(pki.root, pki.root_key, (7,)))],
        lambda pki: [
            ("ca.der", x509.load_pem_x509_crl(crl(pki.root, pki.root_key)).public_bytes(Encoding.DER))
        ],
        lambda pki: [("with-key.pem", pki.leaf().chain_pem + pki.leaf().key_pem)],
        lambda _: [("\udcff.pem", b"nonsense"), ("empty", b"")],
        lambda _: [],
    ],
)
def test_it_finds_the_authorities_and_lists_that_are_found_in_this_process(pki, examiner, files):
    brought = files(pki)
    assert examiner.read_material(brought) == InProcess().read_material(brought)


@pytest.mark.parametrize("engine", ["system", "bundled"])
def test_it_finds_what_an_examination_in_this_process_finds(pki, engine):
    here = in_process(engine)
    with ExaminerProcess(TLSPolicy(), engine) as examiner:
        for name, candidate in the_kinds(pki).items():
            there = outcome(examiner, candidate)
            assert there == outcome(here, candidate), name
            if there.bundle is not None and name not in OPENED:
                assert there.bundle.key_pem() in {data for _, data in candidate.files}, name
        assert outcome(examiner, the_kinds(pki)["good"]).findings == ()


def test_it_reads_a_file_as_this_process_does(examiner, pki):
    for name, candidate in the_kinds(pki).items():
        for file, content in candidate.files:
            assert examiner.read(file, content) == in_process().read(file, content), name


def test_a_certificate_alone_is_completed_by_a_key_that_is_lent(examiner, pki):
    issued = pki.leaf()
    alone = Candidate((("new.pem", issued.chain_pem),))
    keys = Keys({issued.bundle().spki: issued.bundle().key})
    there = outcome(examiner, alone, keys)
    assert there == outcome(in_process(), alone, keys)
    assert there.bundle == issued.bundle()
    assert there.bundle.key_pem() == issued.bundle().key_pem()


def test_our_own_bundle_is_judged_as_it_is(examiner, pki):
    bundle = pki.leaf(issuer=None).bundle()
    there = outcome(examiner, bundle)
    assert there == outcome(in_process(), bundle)
    assert there.bundle is bundle
    expired = pki.leaf(start=NOW.replace(year=NOW.year - 3), days=10).bundle()
    assert outcome(examiner, expired).codes == ["expired"]
    assert outcome(examiner, expired, plausible=False).codes == ["expired_doubtful"]


def test_who_needs_no_verdict_ends_early_and_the_next_is_served(examiner, pki):
    for _ in range(3):
        issued = pki.leaf()
        with examiner.examine(candidate_of(issued), Keys()) as examination:
            assert examination.bundle == issued.bundle()
    assert not outcome(examiner, candidate_of(pki.leaf())).refused


def test_more_than_a_message_holds_is_refused_and_the_next_passes(examiner, pki):
    many = Candidate(tuple((f"{number}.pem", bytes(1 << 20)) for number in range(20)))
    assert outcome(examiner, many).codes == ["file_too_large"]
    assert not outcome(examiner, candidate_of(pki.leaf())).refused


def test_many_threads_ask_and_each_gets_its_own_answer(examiner, pki):
    all_of_them = [pki.leaf() for _ in range(12)]
    right: list[bool] = []

    def ask(issued) -> None:
        good = Outcome(issued.bundle(), (), refused=False)
        right.extend(outcome(examiner, candidate_of(issued)) == good for _ in range(3))

    threads = [threading.Thread(target=ask, args=(issued,)) for issued in all_of_them]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 36


def test_an_empty_reading_is_equal_whoever_does_it(examiner):
    assert examiner.read("x", b"") == in_process().read("x", b"") != Content()
