"""Who answers in an authority's place, or plays with its answers, gets nothing of it."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from certstore import Content, Source, Way, issuer_in
from tests.errands import answer, redirect
from tests.responding import AT, DAY, HOUR, Responder, with_responder
from tests.watching import MINUTE, Scene, leaf_of, scene_at
from tlsproxy import policy_revocation
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.revocationasking import Asker
from tlsproxy.revocationbooks import Record
from tlsproxy.workers.examiner import ExaminerProcess


@pytest.fixture(scope="module")
def examiner() -> Iterator[ExaminerProcess]:
    with ExaminerProcess(TLSPolicy()) as examiner:
        yield examiner


@pytest.fixture
async def scene(tmp_path: Path, examiner: ExaminerProcess) -> AsyncIterator[Scene]:
    async with scene_at(tmp_path, examiner) as scene:
        yield scene


@pytest.mark.parametrize("place", ["http://[::1", "//[", "http://[nowhere]/"])
async def test_a_redirect_to_what_is_no_url_is_a_failure_like_others(scene, pki, place):
    """It ended the proxy, and each next start of it."""
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.library.pages["/ocsp"] = redirect(place)
    assert await scene.turn() == ["failed"]
    scene.respond(Responder(pki).answer(issued.certificate))
    assert await scene.turn(2 * MINUTE) == ["good"]


async def test_whatever_goes_wrong_with_one_question_leaves_the_others_and_the_proxy_alone(
    scene, pki, monkeypatch
):
    first, second = leaf_of(pki, scene, path="/first"), leaf_of(pki, scene, path="/second")
    scene.bring(first, Source.ACME)
    scene.bring(second)
    for path, issued in (("/first", first), ("/second", second)):
        scene.library.pages[path] = answer(Responder(pki).answer(issued.certificate))
    ask = Asker._ask_at

    async def break_one(self: Asker, way: Way, url: str, *who: x509.Certificate) -> object:
        if url.endswith("/first"):
            raise KeyError("a mistake of ours")
        return await ask(self, way, url, *who)

    monkeypatch.setattr(Asker, "_ask_at", break_one)
    assert sorted(await scene.turn()) == ["failed", "good"]
    assert len(scene.staples) == 1


async def test_a_hold_whose_answer_has_ended_is_not_lifted_by_an_older_good(scene, pki):
    """Who stands on the wire lets no newer answer through, and plays one of before the hold."""
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    before = Responder(pki, begins=AT - HOUR, ends=AT + 7 * DAY).answer(issued.certificate)
    on_hold = Responder(pki, begins=AT, ends=AT + DAY)
    scene.respond(on_hold.revoked(issued.certificate, x509.ReasonFlags.certificate_hold))
    assert await scene.turn() == ["revoked"]
    scene.respond(before)
    assert await scene.turn(2 * DAY) == ["revoked"]
    assert scene.standing == ["certificate_revoked"]
    assert scene.staples == []
    later = Responder(pki, begins=AT + DAY).answer(issued.certificate)
    scene.respond(later)
    assert await scene.turn(2 * DAY) == ["good"]
    assert scene.told == ["certificate_revoked", "certificate_reinstated"]


async def test_a_responder_that_knows_nothing_lifts_no_hold(scene, pki):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    on_hold = Responder(pki, ends=AT + DAY)
    scene.respond(on_hold.revoked(issued.certificate, x509.ReasonFlags.certificate_hold))
    await scene.turn()
    lost = Responder(pki, begins=AT, ends=AT + 3 * DAY)
    scene.respond(lost.answer(issued.certificate, ocsp.OCSPCertStatus.UNKNOWN))
    assert await scene.turn(DAY) == ["revoked"]
    assert scene.standing == ["certificate_revoked"]


async def test_a_staple_with_one_wrong_letter_on_the_disk_is_not_served(scene, pki):
    """Clients refuse a handshake with a staple that is broken."""
    issued = leaf_of(pki, scene)
    good = Responder(pki).answer(issued.certificate)
    scene.bring(issued)
    scene.respond(good)
    await scene.turn()
    file = scene.store.path / "revocation.json"
    text = b64encode(good)
    wrong = text[:100] + (b"A" if text[100:101] != b"A" else b"B") + text[101:]
    assert text in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(text, wrong))
    scene.start()
    await scene.keeper.recall()
    assert scene.staples == []
    assert await scene.turn() == ["good"]
    assert scene.staples == [good]


async def test_a_file_that_is_nested_too_deeply_is_as_if_nobody_had_been_asked(scene):
    file = scene.store.path / "revocation.json"
    file.write_bytes(b'{"version":1,"records":{},"more":' + b"[" * 100_000)
    await scene.keeper.recall()
    assert scene.staples == []


async def test_of_more_than_can_be_watched_a_revoked_one_stays_known_and_its_rows_stay_away(
    scene, pki, monkeypatch
):
    """What is served comes first: it was watched no more when it gave way, and came back with its rows."""
    monkeypatch.setattr(policy_revocation, "WATCHED", 1)
    ready, issued = leaf_of(pki, scene, path="/ready"), leaf_of(pki, scene, path="/issued")
    scene.bring(ready, Source.ACME)
    scene.bring(issued)
    hold = x509.ReasonFlags.certificate_hold
    scene.library.pages = {
        "/issued": answer(Responder(pki, ends=AT + DAY).revoked(issued.certificate, hold)),
        "/ready": answer(Responder(pki).answer(ready.certificate)),
    }
    for _ in range(4):
        await scene.turn(MINUTE)
        assert scene.store.active is not None
        assert scene.store.active.default == ready.bundle().id
    assert scene.told == ["certificate_revoked"]


async def test_with_a_clock_that_cannot_be_right_a_revoked_one_is_told_in_health_all_the_same(scene, pki):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(Responder(pki).revoked(issued.certificate))
    await scene.turn()
    scene.start()
    scene.clock.now -= 9_000 * DAY
    await scene.keeper.recall()
    assert await scene.turn() == []
    assert scene.standing == ["certificate_revoked"]


async def test_what_could_not_be_looked_into_yet_is_not_forgotten(scene, pki, monkeypatch):
    """After a start, of many only so many at a time: the others' revocations and staples were gone."""
    ready, issued = leaf_of(pki, scene, path="/ready"), leaf_of(pki, scene, path="/issued")
    scene.bring(ready, Source.ACME)
    scene.bring(issued)
    scene.library.pages = {
        "/issued": answer(Responder(pki).revoked(issued.certificate)),
        "/ready": answer(Responder(pki).answer(ready.certificate)),
    }
    await scene.turn()
    monkeypatch.setattr(policy_revocation, "LOOKED_INTO", 1)
    scene.start()
    await scene.keeper.recall()
    await scene.turn(MINUTE)
    assert len(scene.keeper._books.read()) == 2
    assert scene.store.revoked == {issued.bundle().id}
    assert await scene.turn(MINUTE) == []
    assert scene.told == ["certificate_revoked"]


async def test_a_record_of_a_certificate_that_names_nobody_makes_no_loop(scene, pki):
    """Left by another version, which asked elsewhere: each turn began the next at once."""
    promised = pki.leaf(start=AT - DAY, tweak=with_responder(must_staple=True))
    scene.bring(promised)
    scene.keeper._records[promised.bundle().id] = Record(AT - DAY)
    assert await scene.keeper._turn() > 0


async def test_of_many_some_are_asked_in_one_turn_and_the_rest_at_once_in_the_next(scene, pki, monkeypatch):
    """A responder that answers nobody would keep the alarm of another waiting for all of its questions."""
    monkeypatch.setattr(policy_revocation, "ASKED_IN_A_TURN", 1)
    scene.bring(leaf_of(pki, scene), Source.ACME)
    scene.bring(leaf_of(pki, scene))
    assert await scene.keeper._turn() == 0
    assert scene.results == ["failed"]
    assert await scene.keeper._turn() > 0
    assert scene.results == ["failed", "failed"]
    assert len(scene.keeper._records) == 2


async def test_strangers_certificates_are_tried_off_the_event_loop(scene, pki, monkeypatch):
    """Each that claims to be the issuer is a signature check, and there may be a hundred."""
    at = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(scene.library.url("/ca"))
    )
    responder = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(scene.library.url("/ocsp"))
    )
    issued = pki.leaf(
        start=AT - DAY,
        issuer="root",
        tweak=lambda builder: builder.add_extension(
            x509.AuthorityInformationAccess([at, responder]), critical=False
        ),
    )
    scene.bring(issued)
    by_root = Responder(pki, key=pki.root_key, signer=pki.root, issuer=pki.root)
    scene.respond(by_root.answer(issued.certificate))
    scene.library.pages["/ca"] = answer(pki.root.public_bytes(Encoding.DER))
    where: list[str] = []

    def found(content: Content, leaf: x509.Certificate) -> x509.Certificate | None:
        where.append(threading.current_thread().name)
        return issuer_in(content, leaf)

    monkeypatch.setattr("tlsproxy.revocationasking.issuer_in", found)
    assert await scene.turn() == ["good"]
    assert where
    assert threading.main_thread().name not in where


def test_an_examiner_that_lies_about_an_issuer_gives_none(examiner, pki):
    """A certificate of a version that there isn't, which cryptography refuses by an error of its own."""
    content = examiner.read("issuer.cer", pki.root.public_bytes(Encoding.DER))
    (told,) = content.certificates
    version = bytes.fromhex("a003020102")
    wrong = pki.root.public_bytes(Encoding.DER).replace(version, version[:-1] + b"\x04", 1)
    pem = b"-----BEGIN CERTIFICATE-----\n" + b64encode(wrong) + b"\n-----END CERTIFICATE-----\n"
    leaf = pki.leaf(issuer="root").certificate
    assert issuer_in(content, leaf) == pki.root
    assert issuer_in(Content((replace(told, pem=pem),)), leaf) is None
