"""How the upstreams are that somebody watches: as values, and in words.

Pure. Promises: a part of the status (status.py), and findings for health (health.py). Refuses to know who
checks (tlsproxy/upstreams.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from certstore import Finding, Severity
from tlsproxy.terms import Terms

__all__ = ["UpstreamStatus", "findings_of", "terms_findings"]


@dataclass(frozen=True, slots=True)
class UpstreamStatus:
    """An upstream as those routes see it that watch it in the same way; others see the same one differently.

    up: requests are passed on. since: when that has changed last, or watching began.
    """

    upstream: str
    routes: tuple[str, ...]
    up: bool
    since: datetime
    check: str = ""
    """The path that is asked for to see whether it is up; "" where nothing is."""
    check_up: bool = True
    """What these checks say."""
    breaker: bool = False
    """Whether workers leave it alone where requests to it fail."""
    breakers_open: int = 0
    """How many workers leave it alone now."""
    why: str = ""
    """What has failed last, in words; "" while nothing has."""
    failed_at: datetime | None = None

    @property
    def words(self) -> str:
        """Say it to a person, in one line."""
        state = "up" if self.up else "DOWN"
        told = f"{self.upstream} ({', '.join(self.routes)}): {state} since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        if self.up and self.failed_at is not None:
            return f"{told}; {self.failed_at:%H:%M:%S}: {self.why}"
        return told if self.up else f"{told}; {self.why}"


def findings_of(found: Iterable[UpstreamStatus]) -> Iterator[Finding]:
    """Say what isn't well. It is no reason to be called not ready: docs/health.md says why."""
    for one in found:
        if not one.up:
            words = f"{one.upstream} is down for {', '.join(one.routes)}: {one.why}"
            hint = "see whether that service runs; its clients are answered 503 meanwhile"
            yield Finding("upstream_down", Severity.WARNING, words, hint)


def terms_findings(terms: Mapping[str, Terms]) -> Iterator[Finding]:
    """Say which upstreams are believed without a proof, and which can't be asked at all."""
    for name, one in terms.items():
        if one.unready:
            words = f"{name} can't be asked: {one.unready}"
            hint = "let the proxy's user read the files that its table tls names, then reload"
            yield Finding("upstream_tls_unready", Severity.ERROR, words, hint)
        elif one.by == "nothing":
            words = f"whoever answers at {name} is taken for the service: unsafe_no_verify is set"
            hint = 'pin its key instead: verify = "pin", pins = ["sha256/..."]'
            yield Finding("upstream_unverified", Severity.WARNING, words, hint)
