"""Who holds old connections, and is told to end some: old sets of workers, and whoever has those of a bundle.

Decides whom to tell; how connections end is the worker's business (worker.py). Refuses to know why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tlsproxy import policy
from tlsproxy.http.websocket import SERVICE_RESTART
from tlsproxy.workers.messages import CloseTunnels, EndBundles, EndClients
from tlsproxy.workers.remote import RemoteWorker, Stage

__all__ = ["close_oldest", "end_bundles", "end_clients", "generations_held"]


def generations_held(workers: Iterable[RemoteWorker]) -> frozenset[int]:
    """Give the generations that open connections were made with, as of the last heartbeat.

    Their bundles must stay known as long: who bans a key ends its connections by their bundles.
    """
    return frozenset(number for worker in workers for number, _ in worker.generations)


def close_oldest(workers: Iterable[RemoteWorker], epoch: int) -> None:
    """Close the tunnels of the oldest sets of workers, where more are left of before `epoch` than may be."""
    old = [worker for worker in workers if worker.epoch != epoch]
    too_old = sorted({worker.epoch for worker in old})[: -policy.OLD_SETS]
    for worker in old:
        if worker.epoch in too_old:
            worker.channel.send(CloseTunnels(SERVICE_RESTART))


def end_bundles(workers: Iterable[RemoteWorker], bundles: Collection[str], seconds: float) -> None:
    """Have all end, within `seconds`, the connections made with these bundles, which nobody serves any more.

    Retired workers too: they accept nothing, and hold the oldest connections. To be called once the change
    that took the bundles away is live: who comes later is not looked at.
    """
    for worker in workers:
        if bundles and Stage.STARTING < worker.stage < Stage.GONE:
            worker.channel.send(EndBundles(sorted(bundles), seconds, SERVICE_RESTART))


def end_clients(workers: Iterable[RemoteWorker], trust: Mapping[str, str], seconds: float) -> None:
    """Have all end, within `seconds`, the connections of clients that these trust sets don't let in any more.

    As `end_bundles`: retired workers too, and once the change is live.
    """
    for worker in workers:
        if Stage.STARTING < worker.stage < Stage.GONE:
            worker.channel.send(EndClients(dict(trust), seconds, SERVICE_RESTART))
