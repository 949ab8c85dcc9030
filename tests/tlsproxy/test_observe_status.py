"""The status document: what it tells for each rung, and that it survives JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.backends.openssl.backend import backend

from certstore import Bundle, Generation, NotFound, Receipt, Slot, Source, State, found
from certstore.fingerprints import grouped
from certstore.generation import BundleFacts, compute
from tests.pki import Pki
from tlsproxy import __version__
from tlsproxy.asked import asked, with_modes
from tlsproxy.cli.tables import show_rows, show_status
from tlsproxy.config.values import TLSConfig
from tlsproxy.control.documents import StatusDocument
from tlsproxy.observe.rendering import receipt_line, remaining, render
from tlsproxy.observe.status import (
    ListenerStatus,
    Place,
    Process,
    Rung,
    Status,
    StoreFacts,
    WorkerStatus,
    describe,
)
from tlsproxy.observe.upstreams import UpstreamStatus
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.software import loaded

PLACE = Place("/s", "/s/inbox", "/s/run/control.sock")
Describe = Callable[..., Status]


def generation_of(bundles: Mapping[Source, Bundle], now: datetime) -> Generation:
    slots = tuple(
        Slot(source, bundle.names, bundle.id, None, "cli", sealed=False, receipt="r", stored_at=now)
        for source, bundle in bundles.items()
    )
    facts = {bundle.id: BundleFacts.of(bundle) for bundle in bundles.values()}
    rows, default, _ = compute(slots, facts, now, clock_plausible=True)
    return Generation(7, rows, default, slots, "propose", "r", now)


def described(bundles: Mapping[Source, Bundle], now: datetime, **more: object) -> Status:
    by_id = {bundle.id: bundle for bundle in bundles.values()}
    generation = generation_of(bundles, now)
    facts = StoreFacts(generation, generation.slots, (), by_id.__getitem__, clock_plausible=True)
    return describe(replace(facts, **more), place=PLACE, now=now)  # type: ignore[arg-type]  # a test's shortcut


def test_a_wanted_certificate_is_described_to_the_day(pki: Pki, now: datetime) -> None:
    bundle = pki.leaf(("device.test", "10.0.0.7"), days=90, start=now).bundle()
    status = described({Source.CUSTOMER: bundle}, now)
    assert status.rung is Rung.WANTED
    (one,) = status.bundles
    assert (one.source, one.key_type, one.self_signed) == ("customer", "EC", False)
    assert one.days_left in {89, 90}
    assert {row.pattern for row in status.rows} == {"device.test", "10.0.0.7"}
    assert status.default == bundle.id


def test_each_rung_is_told(pki: Pki, now: datetime) -> None:
    good = pki.leaf(("device.test",), start=now).bundle()
    expired = pki.leaf(("device.test",), start=now - timedelta(days=90), days=30).bundle()
    own = pki.leaf(("device.test",), issuer=None, start=now).bundle()
    assert described({Source.GENERATED: own}, now).rung is Rung.GENERATED
    assert described({Source.CUSTOMER: expired, Source.ACME: good}, now).rung is Rung.FALLBACK
    assert described({Source.CUSTOMER: expired, Source.GENERATED: own}, now).rung is Rung.EXPIRED
    assert described({Source.CUSTOMER: expired}, now, clock_plausible=False).rung is Rung.WANTED
    assert described({Source.CUSTOMER: good}, now, generation=None).rung is Rung.NOTHING


def test_a_bundle_that_cannot_be_loaded_is_no_reason_for_silence(pki: Pki, now: datetime) -> None:
    def lost(bundle_id: str) -> Bundle:
        raise NotFound("bundle", bundle_id)

    status = described({Source.CUSTOMER: pki.leaf().bundle()}, now, bundle=lost)
    assert status.bundles == ()
    assert status.rung is Rung.MEMORY


@pytest.fixture
def whole(pki: Pki, now: datetime) -> Status:
    bundle = pki.leaf(start=now).bundle()
    times = {State.RECEIVED: now, State.REFUSED: now}
    finding = found("file_missing", file="[red]x")
    receipt = Receipt("000001-0123abcd", State.REFUSED, Source.CUSTOMER, "cli", None, None, (finding,), times)
    status = described({Source.CUSTOMER: bundle}, now, receipts=(receipt,))
    listeners = (ListenerStatus("[::]:443", "tls", 443),)
    return replace(status, process=Process(7, now), listeners=listeners)


def test_a_status_survives_json(whole: Status) -> None:
    assert Status.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_scripts_find_what_they_ask_for_first_at_the_top(whole: Status, pki: Pki, now: datetime) -> None:
    document = json.loads(json.dumps(whole.to_json()))
    (bundle,) = whole.bundles
    assert (document["version"], document["pid"], document["control"]) == (__version__, 7, PLACE.control)
    assert document["served"] == [
        {
            "names": ["device.test"],
            "source": "customer",
            "sha256": bundle.fingerprint,
            "spki_sha256": bundle.spki,
            "not_before": bundle.not_before.isoformat().replace("+00:00", "Z"),
            "not_after": bundle.not_after.isoformat().replace("+00:00", "Z"),
            "issuer": bundle.issuer,
            "key_type": "EC",
        }
    ]
    assert bundle.issuer == pki.leaf().certificate.issuer.rfc4514_string()
    assert whole.workers == ()
    msgspec.convert(document, StatusDocument)
    at_rest = replace(whole, process=None).to_json()
    assert (at_rest["version"], at_rest["pid"]) == (__version__, None)


def test_an_older_proxys_status_without_issuers_can_be_read(whole: Status) -> None:
    document: dict[str, Any] = json.loads(json.dumps(whole.to_json()))
    for bundle in document["bundles"]:
        del bundle["issuer"]
    assert [bundle.issuer for bundle in Status.from_json(document).bundles] == [""]


def test_a_newer_proxys_status_can_still_be_read(whole: Status) -> None:
    assert Status.from_json({**whole.to_json(), "from_the_future": 1}) == whole


def test_what_is_no_status_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        Status.from_json({"process": 1})


def test_the_text_says_what_a_person_looks_for(whole: Status) -> None:
    text = render(whole)
    for words in (
        "process 7",
        "the certificate that was wanted is served",
        "listening    [::]:443 (tls)",
        "generation   7",
        "/s/inbox",
        grouped(whole.bundles[0].fingerprint),
        grouped(whole.bundles[0].spki),
        "device.test, everything else",
        "customer; EC key",
        "000001-0123abcd",
        "refused  customer via cli  (file_missing)",
    ):
        assert words in text, words


def test_the_text_says_what_is_wrong(whole: Status) -> None:
    assert "not running" in render(replace(whole, process=None))
    assert "NOT PLAUSIBLE" in render(replace(whole, clock_plausible=False))


def test_a_terminal_is_told_the_same_as_a_pipe(whole: Status) -> None:
    out = io.StringIO()
    show_status(whole, out)
    text = out.getvalue()
    fingerprint = grouped(whole.bundles[0].fingerprint)
    for words in ("process 7", "is served", "[::]:443", "/s/inbox", fingerprint[:39], "000001-0123abcd"):
        assert words in text, words
    worker = WorkerStatus(8, 0, 1, "accepting", 3)
    busy = replace(whole, workers=(worker, replace(worker, stage="retired")))
    out = io.StringIO()
    show_status(busy, out)
    words = "1 serving, 1 starting or ending; 6 connections"
    assert words in render(busy)
    assert words in out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_receipts_id_is_whole_in_a_table_however_narrow(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    codes = "incomplete_chain, already_live"
    rows = [("2026-11-26 00:22:28", "7", "confirmed", "customer via cli", codes, "000018-5191cfbb")]
    show_rows(("when (UTC)", "generation", "state", "who", "codes", "receipt"), rows, out)
    assert "000018-5191cfbb" in out.getvalue()


def test_no_part_of_a_fingerprint_becomes_a_picture(whole: Status) -> None:
    out = io.StringIO()
    (bundle,) = whole.bundles
    show_status(replace(whole, bundles=(replace(bundle, fingerprint="00abcd" * 10 + "abcd"),)), out)
    assert " ".join(["00AB CD00 ABCD"] * 2) in out.getvalue()


@pytest.mark.parametrize(
    ("days", "words"), [(-1, "expired"), (0, "ends today"), (1, "1 day left"), (90, "90 days left")]
)
def test_what_is_left_is_said_in_words(days: int, words: str) -> None:
    assert remaining(days) == words


def test_a_receipt_of_an_unknown_shape_still_makes_a_line() -> None:
    line = receipt_line({"id": "x", "state": "live", "source": "acme", "via": "y"})
    assert line == "x    live  acme via y"


def test_what_waits_for_confirmation_is_told_with_the_command_that_keeps_it(pki: Pki, now: datetime) -> None:
    bundle = pki.leaf().bundle()
    live = Receipt(
        "000007-00000000",
        State.LIVE,
        Source.CUSTOMER,
        "cli",
        bundle.id,
        7,
        (),
        {State.RECEIVED: now, State.LIVE: now},
        confirm_within_s=600.0,
    )
    status = described({Source.CUSTOMER: bundle}, now, receipts=(live,))
    words = "goes back by itself unless confirmed: tlsproxy certs confirm 000007-00000000"
    assert words in render(status)
    out = io.StringIO()
    show_status(status, out)
    assert "tlsproxy certs confirm 000007-00000000" in " ".join(out.getvalue().split())
    settled = live.advance(State.CONFIRMED, now)
    assert "unless confirmed" not in render(described({Source.CUSTOMER: bundle}, now, receipts=(settled,)))


def test_what_is_loaded_is_told_and_absent_in_an_older_document(pki: Pki, now: datetime) -> None:
    status = described({Source.CUSTOMER: pki.leaf(start=now).bundle()}, now)
    assert "software" not in render(status)
    told = replace(status, software=loaded(TLSConfig("bundled")))
    line = next(line for line in render(told).splitlines() if line.startswith("software"))
    assert backend.openssl_version_text() in line
    assert line.endswith("(bundled engine)")
    document = json.loads(json.dumps(told.to_json()))
    assert Status.from_json(document) == told
    assert Status.from_json({name: one for name, one in document.items() if name != "software"}) == status


def test_upstreams_that_are_watched_are_told_to_people_and_programs(pki: Pki, now: datetime) -> None:
    up = UpstreamStatus("http://127.0.0.1:3000", ("/",), up=True, since=now)
    down = UpstreamStatus("unix:/run/a", ("/api",), up=False, since=now, check_up=False, why="it hangs")
    status = replace(described({}, now), upstreams=(up, down))
    assert [line for line in render(status).splitlines() if line.startswith("upstream")] == [
        f"upstream     {up.words}",
        f"upstream     {down.words}",
    ]
    out = io.StringIO()
    show_status(status, out)
    assert "unix:/run/a (/api): DOWN since" in " ".join(out.getvalue().split())
    document = status.to_json()
    assert Status.from_json(document).upstreams == (up, down)
    msgspec.convert(document, StatusDocument)


def test_whose_clients_are_asked_for_a_certificate_is_told(pki: Pki, now: datetime) -> None:
    names = ("api.test", "open.test", "port.test", "*.line.test")
    rules = [
        ClientAuth("required", ("api.test", "*.line.test"), trust="plant"),
        ClientAuth("off", ("open.test",)),
        ClientAuth("required", ("port.test",), (8443,), trust="gone"),
        ClientAuth("optional", trust="plant"),
    ]
    status = described({Source.CUSTOMER: pki.leaf(names).bundle()}, now)
    status = replace(status, asked=asked(rules, {"plant"}), rows=with_modes(status.rows, rules, (443, 8443)))
    assert {row.pattern: row.clients for row in status.rows} == {
        "api.test": "required",
        "*.line.test": "required",
        "open.test": "off",
        "port.test": "optional, required",
    }
    lines = [line for line in render(status).splitlines() if line.startswith("clients")]
    assert lines == [
        "clients      api.test, *.line.test: certificate required, by the trust set plant",
        "clients      open.test: not asked for a certificate",
        "clients      port.test (port 8443): certificate required, by the trust set gone, which ISN'T THERE",
        "clients      every other name: certificate optional, by the trust set plant",
    ]
    out = io.StringIO()
    show_status(status, out)
    assert "which ISN'T THERE" in " ".join(out.getvalue().split())
    assert Status.from_json(status.to_json()) == status
    msgspec.convert(status.to_json(), StatusDocument)
    assert {row.clients for row in described({}, now).rows} <= {"off"}
