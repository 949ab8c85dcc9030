"""How many connections the control socket takes, and whose: so that nobody keeps the others out.

Pure: counts, no sockets. The proxy's own user and root share places of their own, so that the command line
always gets through; all others share as many, and one of them has at most half.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from tlsproxy import policy
from tlsproxy.control.peers import Access, Peer

__all__ = ["Place", "Places"]


class Place(Enum):
    """What a new connection gets."""

    SERVED = "served"
    FORBIDDEN = "forbidden"  # told that it may not ask
    BUSY = "busy"  # told to come again
    NONE = "none"  # closed at once: too many are being told


@dataclass(slots=True)
class Places:
    """Places in use. What `take` gave goes back by `leave`."""

    access: Access
    in_all: int = policy.CONTROL_CONNECTIONS
    per_user: int = policy.CONTROL_CONNECTIONS_PER_USER
    refusals: int = policy.CONTROL_REFUSALS
    _users: Counter[int | None] = field(default_factory=Counter)  # None: root and the proxy's own user
    _refused: int = 0

    def take(self, peer: Peer) -> Place:
        """Give a place to who has just connected."""
        wanted = Place.FORBIDDEN if not self.access.admits(peer) else self._room(self._user(peer))
        if wanted is Place.SERVED:
            self._users[self._user(peer)] += 1
            return wanted
        if self._refused >= self.refusals:
            return Place.NONE
        self._refused += 1
        return wanted

    def leave(self, peer: Peer, place: Place) -> None:
        """Take back what `take` gave."""
        if place is Place.SERVED:
            self._users[self._user(peer)] -= 1
        elif place is not Place.NONE:
            self._refused -= 1

    def _user(self, peer: Peer) -> int | None:
        return None if self.access.is_owner(peer) else peer.uid

    def _room(self, user: int | None) -> Place:
        taken = self._users[user]
        if user is None:
            return Place.SERVED if taken < self.in_all else Place.BUSY
        others = self._users.total() - self._users[None]
        return Place.SERVED if taken < self.per_user and others < self.in_all else Place.BUSY
