"""A candidate without its issuer gets it where that is configured; whatever is answered, it is judged."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from certstore import Bundle, Candidate, InProcess, Refusal, Store
from certstore.slots import Source
from tests.certstore.test_issuers_missing import alone, pointing
from tests.errands import LOOPBACK, Library, a_library, answer, redirect
from tests.examining import Outcome, outcome
from tests.pki import Issued, Key, Pki, Tweak, key_to_pem
from tests.storing import OpenGate, candidate_of
from tlsproxy.completing import Completing, completing
from tlsproxy.config.values import ChecksConfig
from tlsproxy.fetching import FetchError
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.workers.examiner import ExaminerProcess

DER, PEM = Encoding.DER, Encoding.PEM
ALLOWED = ChecksConfig(aia=True, aia_allow=LOOPBACK)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "store", clock=now) as store:
        yield store


def examined(store: Store, candidate: Candidate, checks: ChecksConfig = ALLOWED) -> Outcome:
    return outcome(completing(checks, store, InProcess(OpenGate())), candidate)


async def asked(store: Store, issued: Issued, checks: ChecksConfig = ALLOWED) -> Outcome:
    with trio.fail_after(60):
        return await trio.to_thread.run_sync(partial(examined, store, candidate_of(alone(issued)), checks))


def issued_by(pki: Pki, library: Library, *paths: str) -> Issued:
    return pki.leaf(tweak=pointing(*(library.url(path) for path in paths)))


@pytest.mark.parametrize(
    "form",
    [
        lambda c: c.public_bytes(DER),
        lambda c: c.public_bytes(PEM),
        lambda c: pkcs7.serialize_certificates([c], DER),
        lambda c: pkcs7.serialize_certificates([c], PEM),
    ],
    ids=["der", "pem", "p7c", "p7c-pem"],
)
async def test_a_missing_intermediate_is_fetched_and_becomes_part_of_the_chain(store, pki, form):
    async with a_library() as library:
        library.pages["/ca.cer"] = answer(form(pki.intermediate))
        issued = issued_by(pki, library, "/ca.cer")
        came = await asked(store, issued)
        assert came.bundle is not None
        assert came.bundle.chain == (pki.intermediate,)
        assert came.codes == ["issuer_fetched"]
        assert "Test Intermediate" in came.words


async def test_without_configuration_nothing_is_fetched_and_the_place_and_the_option_are_told(store, pki):
    async with a_library() as library:
        came = await asked(store, issued_by(pki, library, "/ca.cer"), ChecksConfig())
        assert came.codes == ["incomplete_chain", "issuer_known_at"]
        assert library.heads == []


async def test_inside_the_site_nobody_is_asked_unless_his_network_is_named(store, pki):
    async with a_library() as library:
        library.pages["/ca.cer"] = answer(pki.intermediate.public_bytes(DER))
        came = await asked(store, issued_by(pki, library, "/ca.cer"), ChecksConfig(aia=True))
        assert came.codes == ["incomplete_chain", "issuer_not_fetched"]
        assert "127.0.0.1 is not a public address" in came.words
        assert "aia_allow" in came.findings[1].hint
        assert library.heads == []


async def test_nothing_is_fetched_for_a_chain_that_is_there(store, pki):
    async with a_library() as library:
        issued = issued_by(pki, library, "/ca.cer")
        with trio.fail_after(60):
            came = await trio.to_thread.run_sync(examined, store, candidate_of(issued))
        assert came.codes == []
        assert library.heads == []


def pages_of(pki: Pki) -> dict[str, bytes]:
    stranger, leaf = Pki(), pki.leaf()
    return {
        "an impostor of the same name": answer(stranger.intermediate.public_bytes(DER)),
        "the root instead": answer(pki.root.public_bytes(DER)),
        "another leaf": answer(leaf.cert_pem),
        "a key": answer(key_to_pem(leaf.key)),
        "a leaf with its key": answer(leaf.key_pem + leaf.chain_pem.replace(pki.intermediate_pem, b"")),
        "a page of words": answer(b"<html>not here</html>"),
        "an endless DER length": answer(b"\x30\x84\xff\xff\xff\xff" + b"\0" * 1000),
        "too much": answer(b"x" * 70_000),
        "an error": answer(b"gone", 404),
        "a place inside": redirect("http://169.254.169.254/"),
        "itself": redirect("/ca.cer"),
    }


PAGES = list(pages_of(Pki()))


@pytest.mark.parametrize("page", PAGES)
async def test_whatever_is_answered_the_certificate_is_judged_as_it_came(store, pki, page):
    async with a_library() as library:
        library.pages["/ca.cer"] = pages_of(pki)[page]
        issued = issued_by(pki, library, "/ca.cer")
        came = await asked(store, issued)
        assert not came.refused
        assert came.bundle is not None
        assert came.bundle.leaf == issued.certificate
        assert came.bundle.chain == ()
        assert came.codes == ["incomplete_chain", "issuer_not_fetched"]


async def test_what_comes_along_with_the_issuer_does_not_enter_the_candidate(store, pki):
    """Another leaf whose key is here would make the candidate ambiguous; a key would be one too many."""
    async with a_library() as library:
        other = pki.leaf()
        content = pki.intermediate_pem + other.cert_pem + other.key_pem + Pki().intermediate_pem
        library.pages["/ca.cer"] = answer(content)
        came = await asked(store, issued_by(pki, library, "/ca.cer"))
        assert came.codes == ["issuer_fetched"]
        assert came.bundle is not None
        assert came.bundle.chain == (pki.intermediate,)


async def test_the_second_place_is_tried_where_the_first_one_fails_and_no_third(store, pki):
    async with a_library() as library:
        library.pages["/2"] = answer(pki.intermediate.public_bytes(DER))
        assert (await asked(store, issued_by(pki, library, "/1", "/2"))).codes == ["issuer_fetched"]
        came = await asked(store, issued_by(pki, library, "/3", "/4", "/2"))
        assert came.codes == ["incomplete_chain", "issuer_not_fetched", "issuer_not_fetched"]
        assert library.asked == ["/1", "/2", "/3", "/4"]


async def test_a_chain_of_several_is_fetched_link_by_link_and_its_root_is_not_sent(store, pki):
    async with a_library() as library:
        middle_key = pki.make_key("ec")
        middle = pki.authority("Middle", middle_key, pki.root, pki.root_key, now=datetime.now(UTC))
        middle = signed_again(middle, pki.root_key, pointing(library.url("/root.cer")))
        under = Pki()
        under.intermediate_key = pki.make_key("ec")
        under.intermediate = pki.authority(
            "Low", under.intermediate_key, middle, middle_key, now=datetime.now(UTC)
        )
        under.intermediate = signed_again(
            under.intermediate, middle_key, pointing(library.url("/middle.cer"))
        )
        library.pages |= {
            "/low.cer": answer(under.intermediate.public_bytes(DER)),
            "/middle.cer": answer(middle.public_bytes(DER)),
            "/root.cer": answer(pki.root.public_bytes(DER)),
        }
        came = await asked(store, issued_by(under, library, "/low.cer"))
        assert came.codes == ["issuer_fetched", "issuer_fetched"]
        assert came.bundle is not None
        assert came.bundle.chain == (under.intermediate, middle)
        assert library.asked == ["/low.cer", "/middle.cer", "/root.cer"]


def signed_again(certificate: x509.Certificate, key: Key, tweak: Tweak) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    for extension in certificate.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return tweak(builder).sign(key, hashes.SHA256())


async def test_a_chain_without_end_costs_four_errands(store, pki):
    """An authority that says of each of its certificates that another one is above it."""
    async with a_library() as library:
        keys = [pki.make_key("ec") for _ in range(9)]
        links: list[x509.Certificate] = []
        below: Key | None = None
        for level in range(8, -1, -1):
            issuer = links[-1] if links else pki.root
            made = pki.authority(f"L{level}", keys[level], issuer, below or pki.root_key, now=now())
            links.append(signed_again(made, below or pki.root_key, pointing(library.url(f"/{level + 1}"))))
            below = keys[level]
        for link, level in zip(links, range(8, -1, -1), strict=True):
            library.pages[f"/{level}"] = answer(link.public_bytes(DER))
        under = Pki()
        under.intermediate, under.intermediate_key = links[-1], keys[0]
        came = await asked(store, issued_by(under, library, "/0"))
        assert library.asked == ["/0", "/1", "/2", "/3"]
        assert came.bundle is not None
        assert len(came.bundle.chain) == 4


async def test_an_authority_that_is_here_is_not_fetched_and_the_chain_does_not_fall_off(store, pki):
    async with a_library() as library:
        first = pki.leaf()
        store.propose(candidate_of(first), source=Source.CUSTOMER, via="test", examiner=InProcess(OpenGate()))
        issued = issued_by(pki, library, "/ca.cer")
        came = await asked(store, issued)
        assert came.codes == ["issuer_kept"]
        assert came.bundle is not None
        assert came.bundle.chain == (pki.intermediate,)
        assert library.heads == []


def test_time_is_one_for_all_that_a_candidate_needs(pki, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    given: list[float] = []

    def fetch(url: str, seconds: float) -> bytes:
        given.append(seconds)
        clock[0] += 4.0
        raise FetchError("it took too long")

    issued = pki.leaf(tweak=pointing("http://one.test/", "http://two.test/"))
    came = outcome(Completing(InProcess(OpenGate()), fetch), candidate_of(alone(issued)))
    assert given == [6.0, 2.0]
    assert came.codes == ["incomplete_chain", "issuer_not_fetched", "issuer_not_fetched"]


def test_a_candidate_without_room_for_it_is_judged_as_it_came(pki):
    """A hundred certificates may come; one more that is fetched would refuse them all."""
    others = [pki.leaf(key=pki.rsa_key, names=(f"n{n}.test",)).cert_pem for n in range(99)]
    issued = pki.leaf(tweak=pointing("http://one.test/"))
    files = (("a.pem", issued.cert_pem + issued.key_pem), ("b.pem", b"".join(others)))
    came = outcome(Completing(InProcess(OpenGate()), lambda _u, _s: pki.intermediate_pem), Candidate(files))
    assert not came.refused
    assert "issuer_fetched" not in came.codes
    assert "incomplete_chain" in came.codes


def test_our_own_bundle_is_never_completed(pki):
    def fetch(url: str, seconds: float) -> bytes:
        raise AssertionError("nobody asked for that")

    issued = alone(pki.leaf(tweak=pointing("http://one.test/")))
    bundle: Bundle = issued.bundle()
    assert outcome(Completing(InProcess(OpenGate()), fetch), bundle).bundle == bundle


def test_a_candidate_that_is_refused_is_refused_without_an_errand(pki):
    def fetch(url: str, seconds: float) -> bytes:
        raise AssertionError("nobody asked for that")

    issued = pki.leaf(tweak=pointing("http://one.test/"))
    examiner = Completing(InProcess(OpenGate()), fetch)
    candidate = Candidate((("a.pem", issued.cert_pem),))
    with pytest.raises(Refusal), examiner.examine(candidate, lambda _spki: None):
        pass


async def test_the_examiner_process_looks_into_what_was_fetched(store, pki):
    async with a_library() as library:
        library.pages["/ca.cer"] = answer(pkcs7.serialize_certificates([pki.intermediate], DER))
        issued = issued_by(pki, library, "/ca.cer")

        def examine() -> Outcome:
            with ExaminerProcess(TLSPolicy()) as process:
                return outcome(completing(ALLOWED, store, process), candidate_of(alone(issued)))

        with trio.fail_after(60):
            came = await trio.to_thread.run_sync(examine)
        assert came.codes == ["issuer_fetched"]
        assert came.bundle == replace(issued, chain=(pki.intermediate,)).bundle()
