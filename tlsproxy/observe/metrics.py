"""What is counted, under which name, and how counts of many processes are added.

Promises: every family that is exposed stands in `FAMILIES`, named after Prometheus' conventions (base units,
`_total`); a label's value comes from us or from the configuration, never from a client; `Sums` hold a bounded
number of series, whatever a worker sends. Refuses to know who counts (counters.py, metering.py), how counts
travel (workers/), and how they are written (exposition.py).

Theory. A counter must never go back: Prometheus takes a smaller value for a restart, and would count all of
it again. Workers come and go while the proxy lives, so what a worker has counted is added to the sums when it
ends, and the sums outlive the supervisor's own execution anew (handover.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from tlsproxy import policy
from tlsproxy.observe.clientele import Clientele

__all__ = [
    "FAMILIES",
    "HANDSHAKE_BOUNDS_S",
    "OTHER",
    "REQUEST_BOUNDS_S",
    "Counted",
    "Family",
    "Key",
    "Kind",
    "Sums",
    "is_known",
]

Key: TypeAlias = tuple[str, ...]
"""A series: the name of its family and the values of its labels. In a histogram's, a bucket's upper bound as
text comes last (the count of that bucket alone), or "sum"."""

Counted: TypeAlias = list[tuple[Key, float]]
"""Series with their values, as they travel."""

OTHER: Final = "other"
"""The value of a label for all that isn't in its known set."""

# An API answers in milliseconds; ten seconds are what a person waits. Factors of about three: a bucket costs
# a series for each route.
REQUEST_BOUNDS_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# One round trip and a millisecond of ours, on a cable, by radio, by satellite.
HANDSHAKE_BOUNDS_S: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

SUM: Final = "sum"


class Kind(StrEnum):
    """How a family behaves in time."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One line of docs/metrics.md: the name as Prometheus sees it, what it says, its labels."""

    name: str
    kind: Kind
    words: str
    labels: tuple[str, ...] = ()


_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

_ALL = (
    # counted by workers
    Family("tlsproxy_connections_accepted_total", _C, "Connections that were let in."),
    Family(
        "tlsproxy_connections_turned_away_total",
        _C,
        "Connections that found no room: all places taken, or those of their address.",
        ("reason",),
    ),
    Family("tlsproxy_connections", _G, "Open connections, in whatever phase."),
    Family(
        "tlsproxy_connections_by_generation",
        _G,
        "Open TLS connections by the generation whose certificate they were given.",
        ("generation",),
    ),
    Family("tlsproxy_connection_faults_total", _C, "Connections that ended by a fault of the proxy's own."),
    Family(
        "tlsproxy_handshakes_total",
        _C,
        "TLS handshakes that succeeded.",
        ("version", "group", "cipher", "resumed"),
    ),
    Family(
        "tlsproxy_handshake_signatures_total",
        _C,
        "TLS handshakes that succeeded, by what the proxy signed with, as far as that can be told.",
        ("signature",),
    ),
    Family(
        "tlsproxy_hellos_total",
        _C,
        "Clients answered with a certificate, by what they can use, and the strictest profile that they fit.",
        ("version", "keys", "fits"),
    ),
    Family("tlsproxy_handshake_failures_total", _C, "TLS handshakes that failed.", ("reason",)),
    Family(
        "tlsproxy_client_certificates_total",
        _C,
        "Clients that were asked for a certificate, by what came of it.",
        ("result",),
    ),
    Family(
        "tlsproxy_handshake_duration_seconds", _H, "From accept to the end of a handshake that succeeded."
    ),
    Family(
        "tlsproxy_requests_total",
        _C,
        "Requests that passed the gate, by the class of what the client was sent (none: it left before).",
        ("route", "status"),
    ),
    Family("tlsproxy_requests_refused_total", _C, "Requests that the gate refused.", ("status",)),
    Family(
        "tlsproxy_request_duration_seconds",
        _H,
        "From the complete request head to the end of its response; upgrades (101) are left out.",
        ("route",),
    ),
    Family("tlsproxy_received_bytes_total", _C, "Bytes from TLS clients, as TCP carried them."),
    Family("tlsproxy_sent_bytes_total", _C, "Bytes to TLS clients, as TCP carried them."),
    Family(
        "tlsproxy_upstream_errors_total",
        _C,
        "Exchanges that failed by the upstream's fault.",
        ("upstream", "kind"),
    ),
    Family(
        "tlsproxy_upstream_refusals_total",
        _C,
        "Requests that were answered 503, since the upstream is down or busy.",
        ("upstream", "route", "reason"),
    ),
    Family(
        "tlsproxy_log_lines_left_out_total",
        _C,
        "Lines that were not written: too many in a second, or nobody read them.",
        ("log",),
    ),
    # counted by the supervisor
    Family(
        "tlsproxy_receipts_total",
        _C,
        "Candidates by what became of them.",
        ("source", "state"),
    ),
    Family("tlsproxy_findings_total", _C, "Findings about candidates and the store.", ("code", "severity")),
    Family(
        "tlsproxy_upstream_up",
        _G,
        "Whether requests are passed on, where that is watched.",
        ("upstream", "route"),
    ),
    Family(
        "tlsproxy_upstream_checks_total",
        _C,
        "Checks of upstreams, by what came of them.",
        ("upstream", "result"),
    ),
    Family("tlsproxy_worker_deaths_total", _C, "Workers that ended unasked: each was replaced."),
    Family("tlsproxy_workers", _G, "Worker processes by how far their life has come.", ("stage",)),
    Family("tlsproxy_reloads_total", _C, "How often the supervisor has executed itself anew."),
    Family("tlsproxy_active_generation", _G, "The number of the generation that is served, 0 for none."),
    Family("tlsproxy_rung", _G, "1 for the rung of the ladder that the proxy stands on, else 0.", ("rung",)),
    Family("tlsproxy_clock_plausible", _G, "Whether the clock can be right; expiry isn't judged while 0."),
    Family(
        "tlsproxy_certificate_not_before_timestamp_seconds",
        _G,
        "Begin of validity, by name and source.",
        ("name", "source", "role"),
    ),
    Family(
        "tlsproxy_certificate_not_after_timestamp_seconds",
        _G,
        "End of validity, by name and source (role: served, or fallback).",
        ("name", "source", "role"),
    ),
    Family(
        "tlsproxy_certificate_expiry_step",
        _G,
        "The step of the expiry ladder: 0 fine, 1 notice, 2 warning, 3 urgent, 4 expired.",
        ("name", "source", "role"),
    ),
    Family(
        "tlsproxy_expiry_told_total",
        _C,
        "How often a step of the expiry ladder was told.",
        ("step", "role"),
    ),
    Family(
        "tlsproxy_notifications_total",
        _C,
        "Tries of a hook command or webhook, by what came of them.",
        ("way", "result"),
    ),
    Family(
        "tlsproxy_acme_tries_total",
        _C,
        "Tries to get a certificate of an ACME authority, by what came of them.",
        ("result",),
    ),
    Family("tlsproxy_acme_failures", _G, "Tries in a row that failed; none where nothing is wanted."),
    Family("tlsproxy_acme_next_timestamp_seconds", _G, "When the next certificate is asked for."),
    Family(
        "tlsproxy_revocation_asked_total",
        _C,
        "Questions to authorities whether a certificate of ours is revoked, by what came of them.",
        ("result",),
    ),
    Family("tlsproxy_certificates_revoked", _G, "Certificates here that their authority has revoked."),
    Family("tlsproxy_staples", _G, "Certificates that are served with a stapled OCSP answer."),
    Family(
        "tlsproxy_trust_not_before_timestamp_seconds",
        _G,
        "Begin of what of a trust set ends first (kind: authority, or list).",
        ("set", "kind"),
    ),
    Family(
        "tlsproxy_trust_not_after_timestamp_seconds",
        _G,
        "End of what of a trust set ends first (kind: authority, or list).",
        ("set", "kind"),
    ),
    Family("tlsproxy_trust_missing", _G, "Trust sets of the configuration that aren't there, or damaged."),
    Family("tlsproxy_certificate_names_left_out", _G, "Names whose dates aren't told: too many, or damaged."),
    Family("tlsproxy_start_time_seconds", _G, "Since when the proxy serves; reloads don't change it."),
    Family("tlsproxy_build_info", _G, "Always 1.", ("version", "python", "engine")),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
"""All that there is, in the order in which it is exposed."""


def is_known(key: Key) -> bool:
    """Whether this can be a series: of a known family, with a value for each label."""
    family = FAMILIES.get(key[0]) if key else None
    if family is None:
        return False
    extra = 1 if family.kind is Kind.HISTOGRAM else 0
    return len(key) == 1 + len(family.labels) + extra


class Sums:
    """Counters of one process, and those of others that are added; bounded. Not for two threads at once."""

    __slots__ = ("_sums", "clientele")

    def __init__(self, before: Iterable[tuple[Key, float]] = (), clientele: Clientele | None = None) -> None:
        self._sums: dict[Key, float] = {}
        self.clientele = clientele or Clientele()
        """Which names clients asked for: on no page, for names come from clients."""
        self.add_all(before)

    def add(self, name: str, *labels: str) -> None:
        """Count one."""
        self.add_all((((name, *labels), 1.0),))

    def add_all(self, counted: Iterable[tuple[Key, float]]) -> None:
        """Add counts; what no family has, what would go back, and series beyond the bound are passed by."""
        sums = self._sums
        for raw, value in counted:
            key = tuple(raw)
            if key in sums:
                sums[key] += max(value, 0.0)
            elif is_known(key) and len(sums) < policy.METRIC_SERIES:
                sums[key] = max(value, 0.0)

    def copy(self) -> Sums:
        """Give sums that go on by themselves."""
        return Sums(self._sums.items(), self.clientele.copy())

    def counted(self) -> Counted:
        """Give all that there is."""
        return list(self._sums.items())

    def __getitem__(self, key: Key) -> float:
        return self._sums.get(key, 0.0)
