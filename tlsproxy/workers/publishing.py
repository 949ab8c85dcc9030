"""certstore's publisher for a crew: what a store's thread asks, the event loop carries to every worker.

Promises: `prepare` and `commit` return when every worker has answered, and are never cut short by a
cancellation: a change that has begun is carried to its end. Refuses to know how workers are asked (crew.py).

Theory. The store calls us in a thread of its own, which some task waits for. Were the question carried in the
name of that task, its cancellation (a client of the control socket that left, the end of the proxy) would
reach into the middle of a change. So it is carried as a system task, and the composition root keeps the crew
alive until the store is closed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import trio

from certstore import Bundle, Circumstances, Examiner, Generation, Refusal, StoreError
from tlsproxy import policy_changes
from tlsproxy.observe.log import logger
from tlsproxy.workers.crew import Crew
from tlsproxy.workers.ending import end_bundles, end_clients
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.remote import Publication

__all__ = ["Publishing", "published"]

_log = logger("workers")
_TOLD = 20  # so many bundles stand in an event


class Publishing:
    """Implements `certstore.Publisher`; its methods are called in threads. Make it inside trio.run."""

    def __init__(self, crew: Crew, memory: Memory, examiner: Examiner) -> None:
        """Take the crew, and who makes trial handshakes for `unservable`."""
        self._crew, self._memory, self._examiner = crew, memory, examiner
        self._token = trio.lowlevel.current_trio_token()
        self._load: Callable[[str], Bundle] | None = None
        self._served: Generation | None = None
        self._prepared: tuple[Generation, Publication] | None = None
        self.in_memory = False
        self.on_served: Callable[[Generation | None], None] = lambda _generation: None
        """Called, in the thread of the change, when all serve a generation; None for what lies in memory."""

    def load_from(self, load: Callable[[str], Bundle]) -> None:
        """Take bundles by `load`, the store's: a store needs its publisher before it can be asked."""
        self._load = load

    @property
    def served(self) -> Generation | None:
        """The generation that workers serve; None before the first, and while the last rung is served."""
        return self._served

    @property
    def serves(self) -> bool:
        """Whether everybody gets some certificate."""
        return self.in_memory or (self._served is not None and self._served.default is not None)

    def prepare(self, generation: Generation) -> None:
        """Have every worker build it. Raises WorkerError; nothing has changed then."""
        publication = published(generation)
        trio.from_thread.run(self._crew.prepare, publication, trio_token=self._token)
        self._prepared = generation, publication

    def commit(self, generation: Generation) -> None:
        """Have every worker serve it, from the next hello on."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] is generation:
            publication = prepared[1]  # a large one takes a while to be written as JSON
        else:
            publication = published(generation)
        trio.from_thread.run(self._crew.commit, publication, trio_token=self._token)
        before, self._served, self.in_memory = self._served, generation, False
        self.on_served(generation)
        if before is not None and before.trust != generation.trust:
            self._end_clients({one.name: one.id for one in generation.trust})

    def end(self, bundles: Collection[str], why: str) -> None:
        """Have what was begun with these bundles end in every worker, old ones too.

        Exchanges end with their responses, WebSockets by Close frames (1012); what is left is cut in time.
        """
        seconds = policy_changes.END_CONNECTIONS_S
        _log.warning("connections_ending", why=why, bundles=sorted(bundles)[:_TOLD], seconds=seconds)
        end = partial(end_bundles, self._crew.workers, bundles, seconds)
        trio.from_thread.run_sync(end, trio_token=self._token)

    def _end_clients(self, trust: dict[str, str]) -> None:
        """Have the connections of clients end that aren't let in any more."""
        seconds = policy_changes.END_CONNECTIONS_S
        _log.info("clients_judged_anew", sets=sorted(trust), seconds=seconds)
        end = partial(end_clients, self._crew.workers, trust, seconds)
        trio.from_thread.run_sync(end, trio_token=self._token)

    def serve_in_memory(self, bundle: Bundle | None) -> str | None:
        """Serve one bundle to everybody without any store: the last rung, where the disk can't be used.

        None means the one that lies in memory already (from before a reload). Gives the fingerprint of what
        is served then, None where there is nothing to serve. Raises WorkerError.
        """
        if bundle is None:
            bundle = self._memory.bundle()
            if bundle is None:
                return None
        self._memory.put(bundle)
        publication = Publication(0, in_memory=True)
        trio.from_thread.run(self._crew.prepare, publication, trio_token=self._token)
        trio.from_thread.run(self._crew.commit, publication, trio_token=self._token)
        self._served, self.in_memory = None, True
        self.on_served(None)
        return bundle.fingerprint

    def unservable(self, ids: Iterable[str]) -> dict[str, str]:
        """Say which of these bundles no context can be made of, and why; not which can't be loaded."""
        assert self._load is not None, "load_from comes before the first generation"
        found: dict[str, str] = {}
        for id_ in ids:
            with suppress(StoreError):
                if why := self._why_not(self._load(id_)):
                    found[id_] = why
        return found

    def _why_not(self, bundle: Bundle) -> str:
        """Say what keeps clients from a handshake with `bundle`, "" for nothing; whatever its dates."""
        try:
            with self._examiner.examine(bundle, _no_key) as examination:
                examination.judge(Circumstances(bundle.not_before, False))
        except Refusal as refusal:
            return "; ".join(one.words for one in refusal.findings if one.code == "gate_failed")
        return ""


def _no_key(_spki: str) -> None:
    """Know no other key than the bundle's own."""


def published(generation: Generation) -> Publication:
    """Give what workers need of it: the slots are nothing to them."""
    document = replace(generation, slots=()).to_json()
    text = json.dumps(document, separators=(",", ":"))
    return Publication(generation.number, text.encode("ascii"), len(generation.bundles()))
