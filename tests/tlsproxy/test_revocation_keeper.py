"""Authorities are asked about what is served, their good answers stapled, and a revocation is an alarm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from certstore import Finding, Source
from tests.errands import answer
from tests.responding import AT, DAY, HOUR, Responder, revocation_list, with_responder
from tests.watching import MINUTE, Scene, leaf_of, scene_at
from tlsproxy.errors import ThreadError
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.revocationkeeping import Manner
from tlsproxy.workers.examiner import ExaminerProcess


@pytest.fixture(scope="module")
def examiner() -> Iterator[ExaminerProcess]:
    with ExaminerProcess(TLSPolicy()) as examiner:
        yield examiner


@pytest.fixture
async def scene(tmp_path: Path, examiner: ExaminerProcess) -> AsyncIterator[Scene]:
    async with scene_at(tmp_path, examiner) as scene:
        yield scene


async def test_a_good_answer_is_stapled_and_asked_for_again_before_its_end(scene, pki):
    issued = leaf_of(pki, scene)
    first = Responder(pki, ends=AT + DAY).answer(issued.certificate)
    scene.bring(issued)
    scene.respond(first)
    assert await scene.turn() == ["good"]
    assert scene.staples == [first]
    (body,) = scene.library.bodies
    assert ocsp.load_der_ocsp_request(body).serial_number == issued.certificate.serial_number
    assert b"application/ocsp-request" in scene.library.heads[0]
    assert await scene.turn(HOUR) == [], "its time has not come"
    second = Responder(pki, begins=AT + 10 * HOUR, ends=AT + 2 * DAY).answer(issued.certificate)
    scene.respond(second)
    assert await scene.turn(12 * HOUR) == ["good"]
    assert scene.staples == [second]
    assert scene.told == scene.standing == []


async def test_a_responder_that_is_down_leaves_the_old_staple_until_its_end_and_then_none(scene, pki):
    issued = leaf_of(pki, scene)
    good = Responder(pki, ends=AT + DAY).answer(issued.certificate)
    scene.bring(issued)
    scene.respond(good)
    await scene.turn()
    scene.respond(None)
    assert await scene.turn(13 * HOUR) == ["failed"]
    assert await scene.turn(HOUR) == ["failed"]
    assert await scene.turn(HOUR * 2) == ["failed"]
    assert scene.staples == [good]
    assert scene.told == [], "as long as it holds, all is well"
    await scene.turn(8 * HOUR)
    assert scene.staples == []
    assert scene.told == scene.standing == ["revocation_unasked"]
    assert scene.store.active is not None


async def test_a_revoked_certificate_loses_its_staple_and_is_told_once(scene, pki):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(Responder(pki, ends=AT + DAY).answer(issued.certificate))
    await scene.turn()
    scene.respond(Responder(pki, begins=AT + HOUR).revoked(issued.certificate))
    assert await scene.turn(13 * HOUR) == ["revoked"]
    assert scene.staples == []
    assert scene.told == scene.standing == ["certificate_revoked"]
    assert "keyCompromise" in scene.words
    assert dict(scene.keeper.measured())["tlsproxy_certificates_revoked",] == 1
    assert await scene.turn(DAY) == [], "it can't be taken back, so nobody is asked"
    scene.start()
    await scene.keeper.recall()
    assert await scene.turn(DAY) == []
    assert scene.told == ["certificate_revoked"], "nor told again after a restart"
    assert scene.standing == ["certificate_revoked"]


async def test_a_hold_ends_when_the_authority_says_so(scene, pki):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(
        Responder(pki, ends=AT + DAY).revoked(issued.certificate, x509.ReasonFlags.certificate_hold)
    )
    assert await scene.turn() == ["revoked"]
    good = Responder(pki, begins=AT + HOUR).answer(issued.certificate)
    scene.respond(good)
    assert await scene.turn(13 * HOUR) == ["good"]
    assert scene.told == ["certificate_revoked", "certificate_reinstated"]
    assert scene.staples == [good]


async def test_rows_move_with_what_the_authority_says_and_stay_while_nothing_is_heard(scene, pki):
    ready, issued = pki.leaf(start=AT - DAY), leaf_of(pki, scene)
    scene.bring(ready, Source.ACME)
    scene.bring(issued)
    moved: list[str] = []
    scene.keeper.on_moved = lambda generation: moved.append(str(generation.cause))
    on_hold = Responder(pki, ends=AT + DAY).revoked(issued.certificate, x509.ReasonFlags.certificate_hold)
    scene.respond(on_hold)
    await scene.turn()
    assert scene.store.active is not None
    assert scene.store.active.default == ready.bundle().id
    (scene.store.path / "revocation.json").unlink()
    scene.respond(None)
    scene.start()
    await scene.keeper.recall()
    assert await scene.turn(13 * HOUR) == ["failed"]
    assert scene.store.active.default == ready.bundle().id, "what was known before the start holds"
    scene.respond(Responder(pki, begins=AT + HOUR).answer(issued.certificate))
    assert await scene.turn(HOUR) == ["good"]
    assert scene.store.active.default == issued.bundle().id
    assert moved == ["revocation"]


async def test_an_old_answer_that_is_played_again_is_no_news(scene, pki):
    """Who stands on the wire has kept a "good" that hasn't ended; the certificate is on hold since."""
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    old = Responder(pki, begins=AT - HOUR).answer(issued.certificate)
    scene.respond(
        Responder(pki, begins=AT, ends=AT + DAY).revoked(
            issued.certificate, x509.ReasonFlags.certificate_hold
        )
    )
    await scene.turn()
    scene.respond(old)
    await scene.turn(13 * HOUR)
    assert scene.standing == ["certificate_revoked"]
    assert scene.staples == []


async def test_a_forged_or_foreign_answer_counts_for_nothing(scene, pki):
    issued, other = leaf_of(pki, scene), leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(Responder(pki).revoked(other.certificate))
    assert await scene.turn() == ["failed"]
    scene.respond(Responder(pki, key=pki.root_key, signer=pki.root).revoked(issued.certificate))
    assert await scene.turn(2 * MINUTE) == ["failed"]
    scene.respond(b"<html>Welcome to the hotel's network</html>")
    assert await scene.turn(3 * MINUTE) == ["failed"]
    assert scene.standing == ["revocation_unasked"]
    assert scene.staples == []


async def test_a_certificate_that_the_authority_does_not_know_is_told_and_asked_about_again(scene, pki):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    unknown = Responder(pki, ends=AT + HOUR).answer(issued.certificate, ocsp.OCSPCertStatus.UNKNOWN)
    scene.respond(unknown)
    assert await scene.turn() == ["unknown"]
    assert scene.standing == ["certificate_unrecognised"]
    scene.respond(Responder(pki, begins=AT + MINUTE).answer(issued.certificate))
    assert await scene.turn(HOUR) == ["good"]
    assert scene.standing == []


async def test_after_a_restart_the_staple_is_there_and_nobody_is_asked(scene, pki):
    issued = leaf_of(pki, scene)
    good = Responder(pki).answer(issued.certificate)
    scene.bring(issued)
    scene.respond(good)
    await scene.turn()
    scene.start()
    await scene.keeper.recall()
    assert scene.staples == [good], "before anybody is served"
    assert await scene.turn(MINUTE) == []
    assert scene.staples == [good]
    file = scene.store.path / "revocation.json"
    assert file.stat().st_mode & 0o777 == 0o600


async def test_with_a_clock_that_cannot_be_right_nothing_of_before_is_stapled(scene, pki):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(Responder(pki).answer(issued.certificate))
    await scene.turn()
    scene.clock.now -= timedelta(days=9_000)
    scene.start()
    await scene.keeper.recall()
    assert scene.staples == []


async def test_where_no_thread_is_to_be_had_the_question_has_failed_and_nothing_else(scene, pki, monkeypatch):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(Responder(pki).answer(issued.certificate))

    async def refuse(_work: object) -> object:
        raise ThreadError("can't start new thread")

    monkeypatch.setattr("tlsproxy.revocationasking.in_thread", refuse)
    assert await scene.turn() == ["failed"]
    monkeypatch.undo()
    assert await scene.turn(2 * MINUTE) == ["good"]


async def test_the_file_is_written_only_when_something_came(scene, pki):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(Responder(pki).answer(issued.certificate))
    await scene.turn()
    inode = (scene.store.path / "revocation.json").stat().st_ino  # each write makes another file
    for _ in range(3):
        await scene.turn(MINUTE)
    assert (scene.store.path / "revocation.json").stat().st_ino == inode


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"version":2,"records":{}}', b'{"version":1,"records":{"a":1}}']
)
async def test_a_damaged_file_is_as_if_nobody_had_been_asked(scene, pki, content):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(Responder(pki).answer(issued.certificate))
    (scene.store.path / "revocation.json").write_bytes(content)
    scene.start()
    await scene.keeper.recall()
    assert await scene.turn() == ["good"]


async def test_without_a_responder_the_list_is_asked_which_gives_no_staple(scene, pki):
    tweak = with_responder(lists=(scene.library.url("/list"),))
    issued = pki.leaf(start=AT - DAY, tweak=tweak)
    scene.bring(issued)
    scene.library.pages["/list"] = answer(revocation_list(pki, ends=AT + DAY))
    assert await scene.turn() == ["good"]
    assert scene.library.heads[0].startswith(b"GET /list ")
    assert scene.staples == []
    revoked = revocation_list(pki, (issued.certificate, None), begins=AT + HOUR)
    scene.library.pages["/list"] = answer(revoked)
    assert await scene.turn(13 * HOUR) == ["revoked"]
    assert scene.standing == ["certificate_revoked"]


async def test_who_names_nobody_is_asked_about_nowhere(scene, pki):
    scene.bring(pki.leaf(start=AT - DAY))
    assert await scene.turn() == []
    assert scene.library.heads == []
    assert scene.told == scene.standing == []
    assert not (scene.store.path / "revocation.json").exists()


async def test_must_staple_is_heeded_and_told_as_long_as_there_is_none(scene, pki):
    issued = leaf_of(pki, scene, must_staple=True)
    scene.bring(issued)
    assert await scene.turn() == ["failed"]
    assert scene.told == scene.standing == ["staple_missing"], "at the first failure"
    assert "404" in scene.words
    scene.respond(Responder(pki).answer(issued.certificate))
    assert await scene.turn(2 * MINUTE) == ["good"]
    assert scene.standing == []
    assert len(scene.staples) == 1


async def test_must_staple_that_nobody_can_give_is_told(tmp_path, examiner, pki):
    async with scene_at(tmp_path, examiner, can_staple=False) as scene:
        issued = leaf_of(pki, scene, must_staple=True)
        scene.bring(issued)
        scene.respond(Responder(pki).answer(issued.certificate))
        await scene.turn()
        assert "engine system" in scene.words
        promised = with_responder(must_staple=True)
        scene.keeper._manner = Manner(DAY, can_staple=True)
        scene.bring(pki.leaf(start=AT - DAY, tweak=promised))
        assert await scene.turn() == []
        assert "names no OCSP responder" in scene.words


async def test_while_the_clock_cannot_be_right_nobody_is_asked(scene, pki):
    issued = leaf_of(pki, scene)
    scene.bring(issued)
    scene.respond(Responder(pki).answer(issued.certificate))
    assert await scene.turn(timedelta(days=-9_000)) == []
    assert scene.library.heads == []
    assert await scene.turn(timedelta(days=9_000)) == ["good"]


async def test_what_stands_ready_is_watched_too_and_what_is_gone_is_forgotten(scene, pki):
    ready, served = leaf_of(pki, scene, path="/ready"), leaf_of(pki, scene, path="/served")
    scene.bring(ready, Source.ACME)
    scene.bring(served)
    for path, issued in (("/ready", ready), ("/served", served)):
        scene.library.pages[path] = answer(Responder(pki).answer(issued.certificate))
    assert await scene.turn() == ["good", "good"]
    key = next(slot.key for slot in scene.store.slots() if slot.source is Source.ACME)
    scene.store.remove(key, via="test")
    await scene.turn()
    assert len(scene.staples) == 1
    assert len(scene.keeper._books.read()) == 1


async def test_an_issuer_that_is_not_in_the_chain_is_fetched_from_where_the_leaf_says(scene, pki):
    ca = scene.library.url("/ca.cer")
    responder = scene.library.url("/ocsp")

    def tweak(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        both = [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(ca)
            ),
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder)
            ),
        ]
        return builder.add_extension(x509.AuthorityInformationAccess(both), critical=False)

    issued = pki.leaf(start=AT - DAY, issuer="root", tweak=tweak)
    scene.bring(issued)
    by_root = Responder(pki, key=pki.root_key, signer=pki.root, issuer=pki.root)
    scene.respond(by_root.answer(issued.certificate))
    assert await scene.turn() == ["failed"]
    scene.library.pages["/ca.cer"] = answer(pki.root.public_bytes(Encoding.DER))
    assert await scene.turn(2 * MINUTE) == ["good"]
    assert len(scene.staples) == 1


def test_a_process_that_lies_about_an_answer_is_not_believed(pki):
    """What it may say is a judgement or a finding, of known words; anything else ends it."""
    from certstore import Judgement, Status
    from tlsproxy.workers.conversation import Weighed
    from tlsproxy.workers.examiner import _believable

    good = Judgement(Status.GOOD, AT, AT + DAY)
    assert _believable(Weighed(good, None)) == good
    invented = Finding("no_such_code", "warning", "words", "hint")  # type: ignore[arg-type]
    naive = Judgement(Status.GOOD, AT.replace(tzinfo=None), AT + DAY)
    strange = Judgement(Status.REVOKED, AT, AT + DAY, AT, "\x1b[2J")
    for lie in (
        Weighed(None, None),
        Weighed(None, invented),
        Weighed(naive, None),
        Weighed(strange, None),
    ):
        with pytest.raises(ValueError, match=r"."):
            _believable(lie)
