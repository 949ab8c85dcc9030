"""Workers make each other's acquaintance: whose ticket keys are whose, told from each to all others.

Promises: who comes to accept hears of all that accept with the same mailboxes; what a worker says of its keys
is bounded, and passed on only as far as it can be keys. Refuses to know what a key is good for (siblings.py).

Theory. A worker that a stranger has taken over can claim keys of others and be handed their clients'
connections. It has listening sockets and certificates' keys anyway; it gains nothing that it had not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice

from tlsproxy import policy
from tlsproxy.workers.messages import SiblingKeys
from tlsproxy.workers.remote import RemoteWorker

__all__ = ["introduce", "pass_on"]

_KEY_NAME = re.compile(r"[0-9a-f]{32}")
_BUNDLE = re.compile(r"[0-9a-f]{64}")


def introduce(newcomer: RemoteWorker, others: Iterable[RemoteWorker]) -> None:
    """Tell a worker that begins to accept whose keys are whose; who was there has heard of its own before."""
    for other in _siblings(newcomer, others):
        if other.ticket_keys:
            newcomer.channel.send(SiblingKeys(other.seat, other.ticket_keys))


def pass_on(worker: RemoteWorker, keys: Mapping[str, str], others: Iterable[RemoteWorker]) -> None:
    """Keep what a worker says of its new keys, and tell its siblings."""
    found = {
        name: bundle
        for name, bundle in islice(keys.items(), policy.CONTEXTS_KEPT)
        if _KEY_NAME.fullmatch(name) and _BUNDLE.fullmatch(bundle)
    }
    worker.ticket_keys |= found
    for name in tuple(worker.ticket_keys)[: -policy.CONTEXTS_KEPT]:
        del worker.ticket_keys[name]
    for other in _siblings(worker, others):
        if found and other.stage.counts:
            other.channel.send(SiblingKeys(worker.seat, found))


def _siblings(worker: RemoteWorker, others: Iterable[RemoteWorker]) -> list[RemoteWorker]:
    return [other for other in others if other is not worker and other.epoch == worker.epoch]
