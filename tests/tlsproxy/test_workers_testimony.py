"""What a worker says that it counted is believed as far as it can be so."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.tlsproxy.test_observe_metrics import CLIENT, UPSTREAM, exchange
from tests.tlsproxy.test_tls_ja4 import record
from tlsproxy import handover, policy, policy_forecast, policy_tls
from tlsproxy.errors import ClientProtocolError, Fault
from tlsproxy.net.admission import Verdict
from tlsproxy.observe.counters import Counters
from tlsproxy.observe.labels import LEFT, REASONS
from tlsproxy.observe.metrics import Counted, Sums
from tlsproxy.privilege.facts import Confined
from tlsproxy.tls.engines import TLSFacts
from tlsproxy.tls.signatures import SIGNATURES
from tlsproxy.workers.messages import Counts
from tlsproxy.workers.protocol import decode_from_worker, encode
from tlsproxy.workers.testimony import Names, believed, fence_believed

NAMES = Names(("/", "/api"), (UPSTREAM,))
TRUE = (("tlsproxy_requests_total", "/", "2xx"), 3.0)
EVIL = 'evil"} 1\n'
JA4 = "t13d1516h2_8daaf6152771_e5627efa2ab1"
LIES = [
    (("tlsproxy_requests_total", EVIL, "2xx"), 1.0),
    (("tlsproxy_requests_total", "/", EVIL), 1.0),
    (("tlsproxy_requests_total", "/"), 1.0),
    (("tlsproxy_requests_total", "/", "2xx", "more"), 1.0),
    (("tlsproxy_request_duration_seconds", "/", "no number"), 1.0),
    (("tlsproxy_upstream_errors_total", "http://elsewhere:1", "broken"), 1.0),
    (("tlsproxy_upstream_refusals_total", UPSTREAM, "/", EVIL), 1.0),
    (("tlsproxy_upstream_up", UPSTREAM, "/"), 1.0),
    (("tlsproxy_handshake_failures_total", "x" * 1000), 1.0),
    (("tlsproxy_hellos_total", "TLSv1.2", EVIL, "modern"), 1.0),
    (("tlsproxy_handshake_signatures_total", EVIL), 1.0),
    (("tlsproxy_made_up_total",), 1.0),
    (("tlsproxy_worker_deaths_total",), 1.0),  # the supervisor's own
    (("tlsproxy_receipts_total", "customer", "confirmed"), 1.0),
    (("tlsproxy_build_info", "1", "2", "3"), 1.0),
    (("tlsproxy_connections",), 1.0),  # no counter
    ((), 1.0),
    (TRUE[0], -1.0),
    (TRUE[0], 1e300),
    (TRUE[0], float("nan")),
    (TRUE[0], float("inf")),
]


def test_all_that_a_worker_can_count_is_believed():
    counters = Counters(NAMES.routes, NAMES.upstreams, lambda _record: None)
    for status in range(1000):
        counters.exchange_done(exchange(status))
        counters.request_refused(CLIENT, ClientProtocolError(status, "code", "words"))
    for status, code in ((502, "upstream_unreachable"), (504, "upstream_failed"), (502, "bad_status_line")):
        counters.exchange_done(exchange(status, code, fault=Fault.UPSTREAM))
    for code in ("upstream_down", "upstream_busy"):
        counters.exchange_done(exchange(503, code, fault=Fault.UPSTREAM))
    counters.exchange_done(exchange(404, "no_route", route="", fault=Fault.CLIENT))
    for reason in (*REASONS, "a new one"):
        counters.handshake_failed(reason, record(0x0303, b"\xc0\x2f", {}))
    for version in ("TLSv1.2", "TLSv1.3", "TLSv9"):
        for cipher in (*policy_tls.TLS12_CIPHERS, *policy_tls.TLS13_SUITES, "new"):
            for group in ("x25519", "prime256v1", "new", None):
                counters.handshake_done(TLSFacts(version, cipher, group, None, False), 0.1)
    for signature in SIGNATURES:
        counters.handshake_done(TLSFacts("TLSv1.3", "new", None, None, False, signature), 0.1)
    counters.connection_faulted()
    counted = counters.counted(())
    counted += [
        (("tlsproxy_connections_turned_away_total", verdict.value), 1.0)
        for verdict in (Verdict.FULL, Verdict.ADDRESS_FULL)
    ]
    counted += [(("tlsproxy_log_lines_left_out_total", log), 1.0) for log in ("failures", "access")]
    now: Counted = [(("tlsproxy_connections",), 2.0)]
    now += [(("tlsproxy_connections_by_generation", name), 1.0) for name in ("0", "12", "older")]
    refused = list(counters.clientele.refused.items())
    assert {reason for (reason, _), _ in refused} == (REASONS | {"other"}) - LEFT
    counts = decode_from_worker(encode(Counts(counted, now, refused=refused)))
    assert isinstance(counts, Counts)
    assert believed(counts, NAMES) == counts


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_what_no_worker_can_have_counted_is_passed_by_and_the_rest_is_believed(lie):
    assert believed(Counts([lie, TRUE], []), NAMES) == Counts([TRUE], [])


@pytest.mark.parametrize(
    "key",
    [
        ("tlsproxy_connections_by_generation", EVIL),
        ("tlsproxy_connections_by_generation", "9" * 20),
        ("tlsproxy_connections_by_generation", "٣"),
        ("tlsproxy_certificate_not_after_timestamp_seconds", "bank.example", "customer", "served"),
        TRUE[0],
    ],
    ids=str,
)
def test_no_worker_says_of_now_what_it_cannot_know(key):
    true = (("tlsproxy_connections",), 1.0)
    assert believed(Counts([], [(key, 1.0), true]), NAMES) == Counts([], [true])


@pytest.mark.parametrize(
    "name",
    ["", "a b", "A.test", "a..b", "a\n", "\x1b[2J.test", "x" * 254, "a.test/", "192.0.2.1:1", "ä.test"],
)
def test_no_worker_makes_a_line_for_people_of_what_is_no_host_name(name):
    lie = Counts([], [], [(name, 1.0), ("pump.test", 2.0)], [(name, True), ("pump.test", False)])
    assert believed(lie, NAMES) == Counts([], [], [("pump.test", 2.0)], [("pump.test", False)])


@pytest.mark.parametrize("value", [-1.0, 2.0**65])
def test_no_worker_counts_a_name_so_often(value):
    assert believed(Counts([], [], [("pump.test", value)]), NAMES) == Counts([], [])


@pytest.mark.parametrize(
    "lie",
    [
        (("reset by me\n", JA4), 1.0),
        (("unknown_name", f"{JA4}\n"), 1.0),
        (("unknown_name", "\x1b[2J"), 1.0),
        (("unknown_name", JA4), -1.0),
        (("unknown_name", JA4), float("nan")),
        (("unknown_name", JA4), 2.0**65),
    ],
    ids=str,
)
def test_no_worker_makes_a_line_for_people_of_what_is_no_fingerprint(lie):
    true = (("unknown_name", JA4), 2.0)
    assert believed(Counts([], [], refused=[lie, true]), NAMES) == Counts([], [], refused=[true])


def test_of_a_worker_s_fingerprints_a_bounded_part_is_kept():
    refused = [(("unknown_name", f"t13d1516h2_{n:012x}_{n:012x}"), 1.0) for n in range(10_000)]
    assert len(believed(Counts([], [], refused=refused), NAMES).refused) == policy_forecast.REFUSED_COUNTED


def test_of_a_worker_s_names_a_bounded_part_is_kept():
    names = [(f"n{n}.test", 1.0) for n in range(10_000)]
    counts = believed(Counts([], [], names, [(name, True) for name, _ in names]), NAMES)
    assert len(counts.asked) == policy_forecast.NAMES_COUNTED
    assert len(counts.strict) == policy_forecast.STRICT_NAMES


def test_whatever_the_length_of_its_list_a_bounded_part_is_kept():
    now: Counted = [(("tlsproxy_connections_by_generation", str(n)), 1.0) for n in range(100_000)]
    counts = believed(Counts([TRUE] * 100_000, now), NAMES)
    assert len(counts.counted) == policy.METRIC_SERIES
    assert len(counts.now) == policy.METRIC_GENERATIONS + 2


def test_the_most_that_is_believed_of_a_million_workers_can_be_handed_over():
    most = believed(Counts([(TRUE[0], 2.0**64)], []), NAMES)
    sums = Sums()
    for _ in range(1_000_000):
        sums.add_all(most.counted)
    places = {"store": "/s", "runtime": "/r", "doors": [], "lock_fd": 3, "control_fd": 4, "memory_fd": 5}
    state = handover.make(
        epoch=1, since=datetime(2026, 11, 25, tzinfo=UTC), workers=[], sums=sums.counted(), **places
    )
    fd = handover.write(state)
    try:
        assert handover.read(fd) == state
    finally:
        os.close(fd)


FENCED = Confined(7, 1, 1, (1, 2), ("net_bind_service", "cap_63"), True, False, True, 0, "no kernel has it")


def test_a_worker_that_tells_of_its_fence_as_it_is_is_believed() -> None:
    assert fence_believed(FENCED) == FENCED
    assert fence_believed(None) is None


@pytest.mark.parametrize(
    "lie",
    [
        replace(FENCED, landlock_why="\x1b]0;mine\x07"),
        replace(FENCED, landlock_why="no\nlistening    everywhere"),
        replace(FENCED, landlock_why="x" * 100_000),
        replace(FENCED, capabilities=("\x1b[2J",)),
        replace(FENCED, capabilities=("chown",) * 100_000),
    ],
)
def test_what_a_worker_tells_of_its_fence_steers_no_terminal_and_fills_no_page(lie: Confined) -> None:
    found = fence_believed(lie)
    assert found is not None
    assert found.words.isprintable()
    assert len(repr(found)) < 1500


@pytest.mark.parametrize("lie", [replace(FENCED, pid=-1), replace(FENCED, groups=(2**70,))])
def test_a_fence_with_numbers_that_no_system_has_is_not_believed(lie: Confined) -> None:
    assert fence_believed(lie) is None
