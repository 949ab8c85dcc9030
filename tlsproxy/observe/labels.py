"""The values that labels of a worker's counters may have, beside those that the configuration names.

Read by who counts (counters.py), and by who believes a worker only what it can have counted
(workers/testimony.py). Whatever is in none of these sets is told as `metrics.OTHER`.
"""

from __future__ import annotations

from typing import Final

from tlsproxy import policy_tls
from tlsproxy.errors import UPSTREAM_TLS_CODES
from tlsproxy.observe.metrics import HANDSHAKE_BOUNDS_S, OTHER, REQUEST_BOUNDS_S, SUM

__all__ = [
    "CIPHERS",
    "CLASSES",
    "CLIENT_RESULTS",
    "GROUPS",
    "HANDSHAKE_PLACES",
    "LEFT",
    "NO_ROUTE",
    "REASONS",
    "REFUSALS",
    "REFUSED",
    "REQUEST_PLACES",
    "UNKNOWN_GROUP",
    "UPSTREAM_KINDS",
    "UPSTREAM_TLS",
    "VERSIONS",
]

# RFC 8446 section 6.2, without those that TLS 1.2 and later never send.
_ALERTS = (
    "close_notify unexpected_message bad_record_mac record_overflow handshake_failure bad_certificate"
    " unsupported_certificate certificate_revoked certificate_expired certificate_unknown illegal_parameter"
    " unknown_ca access_denied decode_error decrypt_error protocol_version insufficient_security"
    " internal_error inappropriate_fallback user_canceled missing_extension unsupported_extension"
    " unrecognized_name bad_certificate_status_response certificate_required no_application_protocol"
)
# Ours (tls/handshake.py, workers/worker.py), and what engines/port.py makes of OpenSSL's.
_OURS = (
    "closed reset not_tls plain_http bad_hello no_bundle no_application_protocol timeout unsupported_version"
    " no_shared_cipher no_shared_group no_shared_signature_algorithm no_server_name unknown_name broken"
    " missing_extension inappropriate_fallback"
)
# What engines/port.py makes of a client's certificate.
_REFUSED_CLIENTS = frozenset(
    f"client_certificate_{why}"
    for why in [
        "missing",
        "unknown_authority",
        "without_list",
        "not_yet_valid",
        "expired",
        "list_ended",
        "revoked",
        "wrong_purpose",
        "refused",
    ]
)
# What became of clients that were asked for a certificate: forward/clientgate.py says the last four.
CLIENT_RESULTS: Final = _REFUSED_CLIENTS | {
    "accepted",
    "none",
    "client_certificate_not_allowed",
    "client_certificate_too_deep",
    "client_certificate_too_large",
    "client_certificate_unreadable",
}
REASONS: Final = (
    _REFUSED_CLIENTS | frozenset(_OURS.split()) | {f"client_alert_{name}" for name in _ALERTS.split()}
)
LEFT: Final = frozenset({"closed", "reset"})
"""Reasons of clients that went away, and were refused by nobody."""
VERSIONS: Final = frozenset({"TLSv1.2", "TLSv1.3"})
CIPHERS: Final = frozenset((*policy_tls.TLS12_CIPHERS, *policy_tls.TLS13_SUITES))
# OpenSSL's names of groups differ from those by which they are configured.
GROUPS: Final = policy_tls.GROUP_NAMES
UNKNOWN_GROUP: Final = "unknown"
CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx", OTHER, OTHER, OTHER, OTHER)
REFUSALS: Final = frozenset({400, 408, 413, 414, 417, 421, 431, 501, 505})
# Codes of exchanges whose upstream could not be spoken to by TLS, and in what it failed.
UPSTREAM_TLS: Final = {code: kind for kind, code in UPSTREAM_TLS_CODES.items()}
UPSTREAM_KINDS: Final = ("unreachable", "timeout", "broken", "protocol", *UPSTREAM_TLS.values())
# Codes of exchanges whose upstream was not asked, and why.
REFUSED: Final = {"upstream_down": "down", "upstream_busy": "busy"}
NO_ROUTE: Final = "none"
# Buckets by their upper bounds, as text, and the sum.
REQUEST_PLACES: Final = (*map(str, REQUEST_BOUNDS_S), "+Inf", SUM)
HANDSHAKE_PLACES: Final = (*map(str, HANDSHAKE_BOUNDS_S), "+Inf", SUM)
