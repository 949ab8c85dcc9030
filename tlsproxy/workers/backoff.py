"""How long to wait before a dead worker is replaced. Pure: a table and a rule.

Promises: a worker that served for a while is replaced at once; one that dies at birth, again and again, is
tried ever more rarely, but for ever. Refuses to know clocks and processes.
"""

from __future__ import annotations

from dataclasses import dataclass

from tlsproxy import policy

__all__ = ["Backoff"]


@dataclass(slots=True)
class Backoff:
    """One seat's memory of early deaths."""

    early_deaths: int = 0

    def after(self, lived_s: float) -> float:
        """Note a death after so many seconds of life; give the seconds to wait until the next birth."""
        if lived_s >= policy.WORKER_INFANCY_S:
            self.early_deaths = 0
            return 0.0
        self.early_deaths += 1
        steps = policy.WORKER_RETRY_S
        return steps[min(self.early_deaths, len(steps)) - 1]
