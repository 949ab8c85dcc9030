"""Metrics: what a worker counts, how counts of many are added, and that Prometheus' own parser reads it."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from tests.scraping import Series, parsed
from tlsproxy import policy
from tlsproxy.errors import ClientProtocolError, Fault
from tlsproxy.forward.site import ClientFacts, ExchangeRecord
from tlsproxy.observe.counters import Counters
from tlsproxy.observe.exposition import page
from tlsproxy.observe.metrics import FAMILIES, Counted, Kind, Sums, is_known
from tlsproxy.tls.engines import TLSFacts

CLIENT = ClientFacts("192.0.2.7", "https")
UPSTREAM = "http://127.0.0.1:3000"
DOCS = Path(__file__).parents[2] / "docs"


def counters() -> Counters:
    return Counters(["/", "/api"], [UPSTREAM], lambda _record: None)


def exchange(status: int = 200, code: str = "", seconds: float = 0.002, **more: object) -> ExchangeRecord:
    facts = {"client": CLIENT, "method": b"GET", "target": b"/", "upstream": UPSTREAM, "route": "/"}
    known = {"status": status, "code": code, "seconds": seconds, "body_bytes": 2}
    return ExchangeRecord(**{**facts, **known, **more})  # type: ignore[arg-type]


def exposed(counted: Counted) -> dict[str, Series]:
    text, kind = page(counted)
    assert kind.startswith("text/plain; version=0.0.4")
    return parsed(text.decode())


def test_requests_are_counted_by_route_and_class_of_status():
    one = counters()
    for status in (200, 204, 404, 502):
        one.exchange_done(exchange(status))
    one.exchange_done(exchange(0, "client_gone", fault=Fault.CLIENT))
    one.exchange_done(exchange(404, "no_route", route="", fault=Fault.CLIENT))
    one.exchange_done(exchange(999))
    assert exposed(one.counted(()))["tlsproxy_requests_total"] == {
        ("/", "2xx"): 2,
        ("/", "4xx"): 1,
        ("/", "5xx"): 1,
        ("/", "none"): 1,
        ("/", "other"): 1,
        ("none", "4xx"): 1,
    }


def test_a_histogram_counts_each_duration_in_its_bucket_and_all_above():
    one = counters()
    for seconds in (0.0005, 0.001, 0.002, 20.0):
        one.exchange_done(exchange(seconds=seconds))
    found = exposed(one.counted(()))
    buckets = found["tlsproxy_request_duration_seconds_bucket"]
    assert [buckets["/", bound] for bound in ("0.001", "0.003", "10.0", "+Inf")] == [2, 3, 3, 4]
    assert found["tlsproxy_request_duration_seconds_count"] == {("/",): 4}
    assert found["tlsproxy_request_duration_seconds_sum"][("/",)] == pytest.approx(20.0035)


def test_a_tunnels_life_is_no_request_duration():
    one = counters()
    one.exchange_done(exchange(101, seconds=86_400.0))
    found = exposed(one.counted(()))
    assert found["tlsproxy_requests_total"] == {("/", "1xx"): 1}
    assert "tlsproxy_request_duration_seconds_count" not in found


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (502, "upstream_unreachable", "unreachable"),
        (504, "upstream_failed", "timeout"),
        (502, "upstream_failed", "broken"),
        (200, "upstream_failed", "broken"),
        (502, "bad_status_line", "protocol"),
        (502, "upstream_tls_failed", "tls"),
        (502, "upstream_untrusted", "untrusted"),
        (502, "upstream_expired", "expired"),
        (502, "upstream_name_mismatch", "name"),
        (502, "upstream_pin_mismatch", "pin"),
        (502, "upstream_tls_unready", "unready"),
    ],
)
def test_an_upstreams_fault_is_counted_by_its_kind_and_told(status, code, kind):
    told: list[ExchangeRecord] = []
    one = Counters(["/"], [UPSTREAM], told.append)
    record = exchange(status, code, fault=Fault.UPSTREAM)
    one.exchange_done(record)
    counted = exposed(one.counted(()))["tlsproxy_upstream_errors_total"]
    assert counted[UPSTREAM, kind] == 1
    assert sum(counted.values()) == 1
    assert told == [record]


def test_a_request_that_was_not_passed_on_is_no_upstream_error_and_is_not_told_each_time():
    told: list[ExchangeRecord] = []
    one = Counters(["/"], [UPSTREAM], told.append)
    one.exchange_done(exchange(503, "upstream_down", fault=Fault.UPSTREAM))
    found = exposed(one.counted(()))
    assert found["tlsproxy_upstream_refusals_total"] == {(UPSTREAM, "/", "down"): 1}
    assert sum(found["tlsproxy_upstream_errors_total"].values()) == 0
    assert found["tlsproxy_requests_total"] == {("/", "5xx"): 1}
    assert told == []
    one.exchange_done(exchange(503, "upstream_busy", fault=Fault.UPSTREAM))
    assert exposed(one.counted(()))["tlsproxy_upstream_refusals_total"][UPSTREAM, "/", "busy"] == 1
    assert len(told) == 1


def test_a_clients_fault_is_no_upstream_error():
    one = counters()
    one.exchange_done(exchange(413, "body_too_large", fault=Fault.CLIENT))
    assert sum(exposed(one.counted(()))["tlsproxy_upstream_errors_total"].values()) == 0


def test_no_label_has_a_value_that_a_client_could_choose():
    one = counters()
    for number in range(1000):
        one.handshake_failed(f"reason_{number}")
        one.handshake_failed(f"client_alert_made_up_{number}")
        one.handshake_done(TLSFacts(f"TLSv{number}", f"cipher{number}", f"group{number}", None, False), 0.1)
        one.request_refused(CLIENT, ClientProtocolError(1000 + number, f"code_{number}", "words"))
    found = exposed(one.counted(()))
    assert found["tlsproxy_handshake_failures_total"] == {("other",): 2000}
    assert found["tlsproxy_handshakes_total"] == {("other", "other", "other", "false"): 1000}
    assert found["tlsproxy_requests_refused_total"] == {("other",): 1000}


def test_what_both_engines_negotiate_is_told_by_name():
    one = counters()
    one.handshake_done(TLSFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", "x25519", None, True), 0.002)
    one.handshake_done(TLSFacts("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", None, None, False), 0.2)
    found = exposed(one.counted(()))
    assert found["tlsproxy_handshakes_total"] == {
        ("TLSv1.3", "X25519", "TLS_AES_128_GCM_SHA256", "true"): 1,
        ("TLSv1.2", "unknown", "ECDHE-RSA-AES256-GCM-SHA384", "false"): 1,
    }
    assert found["tlsproxy_handshake_duration_seconds_count"] == {(): 2}


def test_bytes_are_those_of_ended_connections_and_of_open_ones():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pairs = []
        for _ in range(2):
            client = socket.create_connection(listener.getsockname())
            pairs.append((client, listener.accept()[0]))
    one = counters()
    for client, ours in pairs:
        client.sendall(b"x" * 1000)
        ours.recv(1000, socket.MSG_WAITALL)
        ours.sendall(b"y" * 3000)
    one.connection_ended(pairs[0][1])
    pairs[0][1].close()
    found = exposed(one.counted([pairs[1][1], pairs[0][1]]))  # a closed one is counted no second time
    assert found["tlsproxy_received_bytes_total"] == {(): 2000}
    assert found["tlsproxy_sent_bytes_total"] == {(): 6000}
    for client, ours in pairs:
        client.close()
        ours.close()


def test_sums_only_grow_and_know_only_our_families():
    sums = Sums()
    key = ("tlsproxy_requests_total", "/", "2xx")
    sums.add_all([(key, 3.0), (key, 4.0), (key, -9.0)])
    sums.add_all([(("tlsproxy_requests_total", "/"), 1.0), (("made_up",), 1.0), ((), 1.0)])
    assert sums.counted() == [(key, 7.0)]
    copy = sums.copy()
    copy.add(*key)
    assert (sums[key], copy[key]) == (7.0, 8.0)


def test_sums_stay_bounded_whatever_a_worker_sends():
    sums = Sums()
    sums.add_all(
        (("tlsproxy_requests_total", f"/{n}", "2xx"), 1.0) for n in range(policy.METRIC_SERIES + 100)
    )
    assert len(sums.counted()) == policy.METRIC_SERIES


def test_series_of_many_workers_are_one():
    counted: Counted = [(("tlsproxy_connections",), 3.0), (("tlsproxy_connections",), 4.0)]
    assert exposed(counted)["tlsproxy_connections"] == {(): 7}


def test_openmetrics_is_given_to_who_asks_for_it():
    text, kind = page([(("tlsproxy_connections",), 1.0)], "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert [family.name for family in parse_openmetrics(text.decode())] == ["tlsproxy_connections"]


def test_a_label_that_would_end_its_line_is_escaped():
    key = ("tlsproxy_upstream_errors_total", 'unix:/run/"a\nb\\', "broken")
    assert exposed([(key, 1.0)])["tlsproxy_upstream_errors_total"] == {key[1:]: 1}


def test_nothing_of_ours_is_in_the_librarys_global_registry():
    page([(("tlsproxy_connections",), 1.0)])
    assert not [m.name for m in REGISTRY.collect() if m.name.startswith("tlsproxy")]


def test_names_follow_prometheus_conventions():
    for family in FAMILIES.values():
        assert re.fullmatch(r"tlsproxy_[a-z_]+", family.name)
        assert (family.kind is Kind.COUNTER) == family.name.endswith("_total")
        if family.kind is Kind.HISTOGRAM:
            assert family.name.endswith("_seconds")
    assert not is_known(("tlsproxy_connections", "a label too many"))


def test_every_family_stands_in_the_docs_with_its_labels():
    text = (DOCS / "metrics.md").read_text("utf-8")
    rows = {row[0]: row for line in text.splitlines() if (row := re.findall(r"`([^`]+)`", line))}
    for family in FAMILIES.values():
        assert rows[family.name][1 : 1 + len(family.labels)] == list(family.labels), family.name
    told = {name for name in rows if name.startswith("tlsproxy_")}
    assert told == set(FAMILIES), "the docs name what isn't there"
