"""Health: ready is about serving at all; what isn't well beside that stands in the findings."""

from __future__ import annotations

import pytest

from certstore import Severity, found
from tlsproxy.observe.health import health_of
from tlsproxy.observe.status import Rung


def judged(rung: Rung = Rung.WANTED, *, accepting: int = 2, serves: bool = True, clock: bool = True):
    return health_of(rung, generation=3, serves=serves, accepting=accepting, clock_plausible=clock)


def test_all_is_well() -> None:
    health = judged()
    assert (health.ready, health.findings) == (True, ())
    assert health.to_json()["live"] is True


@pytest.mark.parametrize(
    ("rung", "code", "severity"),
    [
        (Rung.FALLBACK, "serving_fallback", Severity.WARNING),
        (Rung.EXPIRED, "serving_expired", Severity.ERROR),
        (Rung.MEMORY, "serving_from_memory", Severity.ERROR),
    ],
)
def test_a_lower_rung_is_ready_and_told(rung: Rung, code: str, severity: Severity) -> None:
    health = judged(rung)
    assert health.ready
    ((found),) = health.findings
    assert (found.code, found.severity, found.words) == (code, severity, rung.words)
    assert found.hint


def test_the_own_certificate_of_a_fresh_device_is_no_trouble() -> None:
    assert judged(Rung.GENERATED).findings == ()


def test_nobody_who_accepts_or_nothing_to_serve_is_not_ready() -> None:
    assert [one.code for one in judged(accepting=0).findings] == ["no_worker"]
    assert not judged(accepting=0).ready
    assert not judged(Rung.NOTHING, serves=False).ready


def test_what_the_expiry_ladder_says_stands_beside_the_rest() -> None:
    ends = found("expiry_urgent", names="device.test", source="customer", not_after="tomorrow")
    health = health_of(
        Rung.WANTED, generation=3, serves=True, accepting=2, clock_plausible=True, besides=(ends,)
    )
    assert health.ready
    assert health.findings == (ends,)


def test_a_clock_that_cannot_be_right_is_told() -> None:
    assert [one.code for one in judged(clock=False).findings] == ["clock_implausible"]
