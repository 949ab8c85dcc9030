"""Who a stricter profile would cut off is what its own handshakes say; and the report's arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from OpenSSL import SSL

from tests.tlsproxy.test_tls_ja4 import record
from tlsproxy.errors import HandshakeError
from tlsproxy.observe.clientreport import ClientReport, CutOff, HandshakeCount, RefusedCount, report_of
from tlsproxy.observe.metrics import Sums
from tlsproxy.policy_tls import FITS, PROFILES, Profile
from tlsproxy.tls.clienthello import parse
from tlsproxy.tls.engines import make_context
from tlsproxy.tls.engines.bundled import BundledEngine, set_groups
from tlsproxy.tls.offers import offer_of

SINCE = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
TLS12, TLS13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
CLIENTS = [
    ("X25519MLKEM768:X25519", (TLS12, TLS13), b"", "pq-only"),
    ("SecP256r1MLKEM768", (TLS13, TLS13), b"", "pq-only"),
    ("SecP384r1MLKEM1024", (TLS13, TLS13), b"", "none"),
    ("X25519:P-256", (TLS12, TLS13), b"", "modern"),
    ("P-384", (TLS13, TLS13), b"TLS_CHACHA20_POLY1305_SHA256", "modern"),
    ("P-521", (TLS12, TLS13), b"", "none"),
    ("X25519", (TLS13, TLS13), b"TLS_AES_128_CCM_SHA256", "none"),
    ("P-256", (TLS12, TLS12), b"", "intermediate"),
    ("P-256", (TLS12, TLS12), b"ECDHE-ECDSA-AES128-GCM-SHA256", "intermediate"),
    ("P-256", (TLS12, TLS12), b"ECDHE-ECDSA-AES128-SHA256", "none"),
    ("P-521", (TLS12, TLS12), b"", "none"),
]


def hello_of(groups: str, versions: tuple[int, int], ciphers: bytes) -> bytes:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(versions[0])
    context.set_max_proto_version(versions[1])
    set_groups(context, groups)
    if ciphers.startswith(b"TLS_"):
        context.set_tls13_ciphersuites(ciphers)
    elif ciphers:
        context.set_cipher_list(ciphers)
    client = BundledEngine(context, server_side=False, server_name="device.test")
    client.handshake()
    return client.take()


def is_judged_rightly(pki, data: bytes, fit: str) -> bool:
    """Say whether exactly the profiles up to `fit` answer this hello."""
    hello = parse(data)
    assert hello is not None
    assert offer_of(hello)[2] == fit
    answered = []
    for profile in (Profile.INTERMEDIATE, Profile.MODERN, Profile.PQ_ONLY):
        server = make_context(pki.leaf().bundle(), PROFILES[profile], "bundled").accept()
        server.feed(data)
        try:
            server.handshake()
        except HandshakeError:
            continue
        answered.append(str(profile))
    return tuple(answered) == FITS[1 : FITS.index(fit) + 1]


@pytest.mark.parametrize(("groups", "versions", "ciphers", "fit"), CLIENTS)
def test_a_client_fits_those_profiles_that_answer_it(pki, groups, versions, ciphers, fit):
    assert is_judged_rightly(pki, hello_of(groups, versions, ciphers), fit)


@pytest.mark.parametrize("algorithms", [{}, {0x000D: bytes.fromhex("00020403")}])
def test_a_client_of_tls_12_that_lists_no_groups_is_answered_by_nobody(pki, algorithms):
    assert is_judged_rightly(pki, record(0x0303, b"\xc0\x2b", algorithms), "none")


def report() -> ClientReport:
    sums = Sums(
        [
            (("tlsproxy_handshakes_total", "TLSv1.3", "X25519", "TLS_AES_128_GCM_SHA256", "true"), 5.0),
            (
                ("tlsproxy_handshakes_total", "TLSv1.2", "P-256", "ECDHE-ECDSA-AES128-GCM-SHA256", "false"),
                8.0,
            ),
            (("tlsproxy_hellos_total", "TLSv1.3", "both", "pq-only"), 9.0),
            (("tlsproxy_hellos_total", "TLSv1.3", "ec", "modern"), 4.0),
            (("tlsproxy_hellos_total", "TLSv1.2", "ec", "intermediate"), 6.0),
            (("tlsproxy_hellos_total", "older", "neither", "none"), 1.0),
            (("tlsproxy_requests_total", "/", "2xx"), 100.0),
        ]
    )
    sums.clientele.refuse("unknown_name", "t13d1516h2_8daaf6152771_e5627efa2ab1")
    return report_of(sums, SINCE)


def test_a_report_adds_what_was_counted():
    told = report()
    assert [hello.count for hello in told.hellos] == [9, 6, 4, 1]
    assert told.handshakes[0] == HandshakeCount("TLSv1.2", "P-256", "ECDHE-ECDSA-AES128-GCM-SHA256", False, 8)
    assert told.cut_off == (CutOff("modern", 6, 19), CutOff("pq-only", 10, 19))
    assert told.refused == (RefusedCount("unknown_name", "t13d1516h2_8daaf6152771_e5627efa2ab1", 1),)


def test_json_and_back():
    assert ClientReport.from_json(report().to_json()) == report()
    assert ClientReport.from_json(report_of(Sums(), SINCE).to_json()).cut_off[0] == CutOff("modern", 0, 0)
