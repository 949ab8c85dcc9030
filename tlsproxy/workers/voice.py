"""What a worker says by itself, without being asked: to the supervisor's log, and for its clients."""

from __future__ import annotations

from tlsproxy.workers.asking import Asking
from tlsproxy.workers.channel import Channel
from tlsproxy.workers.messages import BundleLost, Said, TicketKeys, Tripped
from tlsproxy.workers.protocol import ToWorker

__all__ = ["Voice"]


class Voice:
    """Says things to the supervisor's log, and asks it for clients."""

    def __init__(self, channel: Channel[ToWorker]) -> None:
        self.channel = channel
        self.asking = Asking(channel.send)

    def say(self, level: str, event: str, fields: dict[str, object]) -> None:
        """Tell of an event."""
        self.channel.send(Said(level, event, fields))

    def tripped(self, upstream: str, kind: str) -> None:
        """Tell that requests to an upstream fail by `kind`, so that it is left alone; "": not any more."""
        self.channel.send(Tripped(upstream, kind))

    def bundle_lost(self, bundle: str, why: str) -> None:
        """Tell of a bundle that can't be served after all."""
        self.channel.send(BundleLost(bundle, why))

    def ticket_keys(self, keys: dict[str, str]) -> None:
        """Tell of ticket keys that were made."""
        if keys:
            self.channel.send(TicketKeys(keys))
