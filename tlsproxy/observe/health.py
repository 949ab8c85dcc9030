"""How the proxy is, in few words: for a load balancer, a monitor, and whoever asks why it isn't well.

Pure. Promises: `ready` says whether clients are served at all, never whether with the certificate that was
wanted, nor whether the services behind us are up: that is what the rung and the findings tell. A code here is
stable, as those of certificates are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from certstore import Finding, Severity
from tlsproxy.observe.status import Rung

__all__ = ["Health", "health_of"]


@dataclass(frozen=True, slots=True)
class Health:
    """`ready`: some certificate is served for every name, and at least one worker accepts connections."""

    ready: bool
    rung: Rung
    generation: int | None
    workers: int
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, object]:
        """Give what the API answers; who answers is live."""
        return {
            "live": True,
            "ready": self.ready,
            "rung": str(self.rung),
            "rung_words": self.rung.words,
            "generation": self.generation,
            "workers": self.workers,
            "findings": [
                {"code": f.code, "severity": str(f.severity), "words": f.words, "hint": f.hint}
                for f in self.findings
            ],
        }


_OF_RUNG = {
    Rung.FALLBACK: (
        "serving_fallback",
        Severity.WARNING,
        "look at the latest receipts, and import the certificate that was wanted again",
    ),
    Rung.EXPIRED: ("serving_expired", Severity.ERROR, "import or order a new certificate now"),
    Rung.MEMORY: (
        "serving_from_memory",
        Severity.ERROR,
        "look at the log: the store is damaged or can't be written",
    ),
    Rung.NOTHING: ("serving_nothing", Severity.ERROR, "the first start makes a certificate; look at the log"),
}


def health_of(
    rung: Rung,
    *,
    generation: int | None,
    serves: bool,
    accepting: int,
    clock_plausible: bool,
    besides: Iterable[Finding] = (),
) -> Health:
    """Judge from what is known; `accepting`: how many workers accept connections.

    besides: what else there is to say: certificates that end, services behind us that are down.
    """
    findings = (*_findings(rung, accepting, clock_plausible=clock_plausible), *besides)
    return Health(serves and accepting > 0, rung, generation, accepting, findings)


def _findings(rung: Rung, accepting: int, *, clock_plausible: bool) -> Iterator[Finding]:
    if not accepting:
        hint = "look at the log: workers end at once, or are just being replaced"
        yield Finding("no_worker", Severity.ERROR, "no worker accepts connections", hint)
    if rung in _OF_RUNG:
        code, severity, hint = _OF_RUNG[rung]
        yield Finding(code, severity, rung.words, hint)
    if not clock_plausible:
        words = "the clock can't be right: expiry is not judged until it is set"
        yield Finding("clock_implausible", Severity.WARNING, words, "set the clock")
