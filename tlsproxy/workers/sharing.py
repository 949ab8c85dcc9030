"""Who accepts where: listening sockets shared out over the workers that accept now. Pure.

Promises: every socket has somebody as long as anybody accepts, so no connection waits in the queue of a
worker that is gone; a worker keeps its own sockets whoever else comes and goes; nobody is without a socket.
Refuses to know sockets and processes: both are numbers here.

Theory. Each address has a reuse-port group of sockets, over which the kernel spreads connections by a hash.
Socket `i` belongs to seat `i` modulo the seats; while nobody sits there, the next seat that is taken, counted
upwards and around, has it as well. Where there are fewer sockets than seats (systemd passed one), a seat
without a socket of its own accepts on one of another's: the kernel then gives a connection to whoever is
quicker.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

__all__ = ["equal_share", "share_out"]


def share_out(groups: Sequence[int], seats: int, taken: Collection[int]) -> Mapping[int, tuple[int, ...]]:
    """Give the sockets of each taken seat, as places in the list of all groups' sockets, one after another.

    groups: how many sockets each address has, in order. seats: how many workers there should be. taken: the
    seats whose workers accept now.
    """
    found: dict[int, list[int]] = {seat: [] for seat in sorted(taken)}
    if not found:
        return {}
    first = 0
    for size in groups:
        for index in range(size):
            found[_keeper(index % seats, seats, taken)].append(first + index)
        for seat, places in found.items():
            if size <= seat and (place := first + seat % size) not in places:
                places.append(place)
        first += size
    return {seat: tuple(sorted(places)) for seat, places in found.items()}


def _keeper(home: int, seats: int, taken: Collection[int]) -> int:
    """Give the seat that has the sockets of `home` now: itself, or the next one that is taken."""
    for step in range(seats):
        if (home + step) % seats in taken:
            return (home + step) % seats
    return min(taken)  # taken seats beyond `seats`: a reload with fewer workers is under way


def equal_share(limit: int, workers: int) -> int:
    """Give each worker's part of a limit on all of them, rounded up: at least 1."""
    return -(-limit // workers)
