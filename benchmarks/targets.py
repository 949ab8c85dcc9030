"""What the figures must show, as the suite was asked for: times a peer's, or so much; at most or at least."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import Results


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a figure: times that of `peer`, or absolute where `peer` is None."""

    figure: str
    bound: float
    peer: str | None = None
    at_least: bool = False

    @property
    def words(self) -> str:
        """Say what is asked."""
        times = f" x {self.peer}" if self.peer else ""
        return f"at {'least' if self.at_least else 'most'} {self.bound:,g}{times}"

    def is_met(self, value: float) -> bool:
        """Hold a value to it."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target with what was measured (None: one of the two is missing)."""

    target: Target
    measured: float | None

    @property
    def word(self) -> str:
        """Say how it went."""
        if self.measured is None:
            return "not measured"
        return "reached" if self.target.is_met(self.measured) else "missed"


TARGETS = (
    *(Target("request", 1.0, peer) for peer in ("Caddy", "Traefik", "Envoy")),
    Target("request", 3.5, "nginx"),
    *(Target("full", 1.3, peer) for peer in ("Caddy", "Traefik", "HAProxy")),
    *(
        Target(way, most, peer)
        for way in ("down", "up")
        for peer, most in (("nginx", 1.0), ("HAProxy", 1.0), ("Caddy", 1.0), ("Traefik", 1.0), ("Envoy", 1.4))
    ),
    Target("idle", 25.0),
    Target("rest", 90.0),
    Target("scaling", 0.9, at_least=True),
    Target("share", 35.0, at_least=True),  # of two workers: the other then has 65 at most
    Target("returning", 95.0, at_least=True),
    Target("rotations", 1000.0, at_least=True),
    # asked for without a word about load: held to it both ways
    Target("calm", 50.0),
    Target("calm99", 200.0),
    Target("live", 50.0),
    Target("live99", 200.0),
    Target("failed", 0.0),
    Target("lost", 0.0),
    Target("ended", 0.0),
    Target("p99", 1.5),
    Target("growth", 5.0),  # flat: less than the allocator's own ups and downs
    Target("start", 3.0),
    Target("touched", 200.0),
    Target("more", 5.0),
)


def judge(results: Results, ours: str) -> list[Verdict]:
    """Hold the medians to the targets."""
    verdicts = []
    for target in TARGETS:
        seen = (
            results.ratio(target.figure, ours, target.peer)
            if target.peer
            else results.of(target.figure, ours)
        )
        verdicts.append(Verdict(target, seen.median if seen else None))
    return verdicts
