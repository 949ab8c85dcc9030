"""Staples for every worker: what each staples, and what one that is born later begins with.

Promises: `publish` tells all workers that may still make handshakes, and waits for nobody: a handshake
without a staple is a good one. Refuses to know where staples come from, and how workers keep them.

The whole set is sent each time, as `Answers` are (answering.py): no order of messages matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from tlsproxy import policy_revocation as policy
from tlsproxy.workers.remote import RemoteWorker, Stage
from tlsproxy.workers.stapled import Staple, Staples

__all__ = ["Stapling"]


class Stapling:
    """The staples that are served now. On the event loop."""

    def __init__(self, clock: Callable[[], datetime], workers: Callable[[], Sequence[RemoteWorker]]) -> None:
        """Take the wall clock, by which answers end, and what gives all workers there are."""
        self._clock, self._workers = clock, workers
        self._served: Mapping[str, tuple[bytes, datetime]] = {}

    def pending(self) -> Staples:
        """Give what a worker is to staple from now on, as a message."""
        now, most = self._clock(), policy.WATCHED
        lasting = [(id_, answer, ends) for id_, (answer, ends) in self._served.items() if ends > now][:most]
        return Staples([Staple(id_, answer, (ends - now).total_seconds()) for id_, answer, ends in lasting])

    def publish(self, staples: Mapping[str, tuple[bytes, datetime]]) -> None:
        """Have exactly these stapled, each until its end: by the bundle's id, the OCSPResponse in DER."""
        if staples == self._served:
            return
        self._served = dict(staples)
        message = self.pending()
        for worker in self._workers():
            if worker.stage < Stage.QUIET:
                worker.tell(message)
