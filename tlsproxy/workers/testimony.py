"""What a worker's word is worth: of its counts only what it can have counted, of its fence what is plain.

Promises: what is believed has a bounded number of series, of families that workers count, with labels that
were known before the worker was born; values are finite, not negative, and stay so when they are added for
ever. Refuses to know what becomes of them (crew.py, observe/).

Theory. A worker that a stranger's bytes have taken over says what he likes. What it says about counts lies in
the supervisor's memory, goes through a reload, and ends on a page: text of its own would make the page as
long as it likes, the bound of a bucket that is no number would let no page be made, and an infinity, which
JSON doesn't have, would make the state of a reload unreadable at a point from which there is no return. What
doesn't pass is passed by, not punished: after a reload a worker of another version may count what we don't
know. Such a worker can still count wrong, in its own families.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, TypeAlias

from tlsproxy import policy
from tlsproxy import policy_forecast as forecast
from tlsproxy.net.admission import Verdict
from tlsproxy.observe import labels
from tlsproxy.observe.metrics import OTHER, Counted, Key, Sums
from tlsproxy.policy_tls import FITS
from tlsproxy.privilege.facts import Confined
from tlsproxy.tls.ja4 import FORM
from tlsproxy.tls.offers import OFFERED_VERSIONS, USABLE_KEYS
from tlsproxy.tls.signatures import SIGNATURES
from tlsproxy.workers.messages import Counts

__all__ = ["OLDER", "Names", "believed", "fence_believed", "sum_up", "take"]

OLDER: Final = "older"
"""The label of all generations that aren't told apart."""

# The kernel counts bytes in 64 bits, so nothing that grows by one gets beyond this; and however many such
# numbers are added, the sum is far from infinity.
_MOST = 2.0**64
_DIGITS = 19
_LONGEST_NAME = 253
_LONGEST_WHY = 200
_MOST_CAPABILITIES = 64
_CAPABILITY: Final = re.compile(r"[a-z0-9_]{1,32}")
_MOST_ID, _MOST_GROUPS = 2**32, 65_536  # NGROUPS_MAX
_NAME: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_Labels: TypeAlias = Mapping[str, tuple[Container[str], ...]]


@dataclass(frozen=True, slots=True)
class Names:
    """What the configuration that a worker was born with names: the paths of routes, and upstreams."""

    routes: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()


class _Generations:
    """The numbers that a generation may have, as text."""

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and (
            text == OLDER or (len(text) <= _DIGITS and text.isascii() and text.isdigit())
        )


_NOW: _Labels = {
    "tlsproxy_connections": (),
    "tlsproxy_connections_by_generation": (_Generations(),),
}
_MOST_NOW = policy.METRIC_GENERATIONS + 2
_OF_ALL: _Labels = {
    "tlsproxy_connections_accepted_total": (),
    "tlsproxy_connections_turned_away_total": ({Verdict.FULL.value, Verdict.ADDRESS_FULL.value},),
    "tlsproxy_connection_faults_total": (),
    "tlsproxy_handshakes_total": (
        labels.VERSIONS | {OTHER},
        {*labels.GROUPS.values(), labels.UNKNOWN_GROUP, OTHER},
        labels.CIPHERS | {OTHER},
        {"true", "false"},
    ),
    "tlsproxy_hellos_total": (OFFERED_VERSIONS, USABLE_KEYS, FITS),
    "tlsproxy_handshake_signatures_total": (SIGNATURES,),
    "tlsproxy_handshake_failures_total": (labels.REASONS | {OTHER},),
    "tlsproxy_client_certificates_total": (labels.CLIENT_RESULTS,),
    "tlsproxy_handshake_duration_seconds": (labels.HANDSHAKE_PLACES,),
    "tlsproxy_requests_refused_total": ({*map(str, labels.REFUSALS), OTHER},),
    "tlsproxy_received_bytes_total": (),
    "tlsproxy_sent_bytes_total": (),
    "tlsproxy_log_lines_left_out_total": ({"failures", "access"},),
}


def believed(counts: Counts, names: Names) -> Counts:
    """Give what of a worker's counts may be so; `names`: what it was born with."""
    routes, upstreams = {*names.routes, labels.NO_ROUTE}, set(names.upstreams)
    known = {
        **_OF_ALL,
        "tlsproxy_requests_total": (routes, labels.CLASSES),
        "tlsproxy_request_duration_seconds": (routes, labels.REQUEST_PLACES),
        "tlsproxy_upstream_errors_total": (upstreams, labels.UPSTREAM_KINDS),
        "tlsproxy_upstream_refusals_total": (upstreams, routes, set(labels.REFUSED.values())),
    }
    return Counts(
        list(_possible(islice(counts.counted, policy.METRIC_SERIES), known)),
        list(_possible(islice(counts.now, _MOST_NOW), _NOW)),
        [
            one
            for one in counts.asked[: forecast.NAMES_COUNTED]
            if _is_name(one[0]) and 0.0 <= one[1] <= _MOST
        ],
        [one for one in counts.strict[: forecast.STRICT_NAMES] if _is_name(one[0])],
        [one for one in counts.refused[: forecast.REFUSED_COUNTED] if _is_refused(*one)],
    )


def fence_believed(told: Confined | None) -> Confined | None:
    """Give what a worker may have found of its fence, which a person reads; None for what makes no sense."""
    if told is None:
        return None
    numbers = (told.pid, told.uid, told.gid, told.landlock, *told.groups)
    if not all(0 <= number <= _MOST_ID for number in numbers) or len(told.groups) > _MOST_GROUPS:
        return None
    held = tuple(filter(_CAPABILITY.fullmatch, told.capabilities[:_MOST_CAPABILITIES]))
    why = told.landlock_why[:_LONGEST_WHY]
    return replace(told, capabilities=held, landlock_why=why if why.isprintable() else "it says nonsense")


def sum_up(gone: Sums, living: Iterable[Counts | None]) -> tuple[Sums, Counted]:
    """Add what all have counted, those who are gone too; and give what stands open now."""
    now: Counted = []
    sums = gone.copy()
    for counts in living:
        take(sums, counts)
        now += counts.now if counts is not None else ()
    return sums, now


def take(sums: Sums, counts: Counts | None) -> None:
    """Add what one worker has counted, if it has said so."""
    if counts is not None:
        sums.add_all(counts.counted)
        sums.clientele.add(counts.asked, counts.strict, counts.refused)


def _is_name(text: str) -> bool:
    """Say whether this can be a host name as hellos have it: it will stand in a line for people."""
    return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None


def _is_refused(who: tuple[str, str], count: float) -> bool:
    reason, fingerprint = who
    is_known = reason in labels.REASONS or reason == OTHER
    return is_known and FORM.fullmatch(fingerprint) is not None and 0.0 <= count <= _MOST


def _possible(told: Iterable[tuple[Key, float]], known: _Labels) -> Iterator[tuple[Key, float]]:
    for key, value in told:
        wanted = known.get(key[0]) if key else None
        if wanted is None or len(key) != 1 + len(wanted) or not 0.0 <= value <= _MOST:
            continue
        if all(label in values for label, values in zip(key[1:], wanted, strict=True)):
            yield key, value
