"""What a worker serves right now: certstore's publisher, for a data plane in this process.

Promises: `prepare` builds what a generation needs, proves it by handshakes with itself (tls/contexts.py says
how much of it), and changes nothing that is served; `commit` publishes what was prepared by one assignment.
Both are called by the store, in the worker thread that makes a change, never on the event loop. Refuses to
know how contexts are made (tls/contexts.py).

Theory. A connection reads `table` once, at the moment when its ClientHello is complete. The store takes
`live_at` only after `commit` has returned; therefore a hello completed after `live_at` reads the new table.
Reading an attribute and assigning one are single steps under the interpreter's lock: a handshake sees the old
table or the new, whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence

from certstore import Bundle, Generation
from tlsproxy.tls.contexts import Contexts, LazyContext
from tlsproxy.tls.selector import Table
from tlsproxy.workers.stapled import Staple


class Serving:
    """The publisher (`certstore.Publisher`) of one worker, and what connections are told of their bundle."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._load: Callable[[str], Bundle] | None = None
        self._prepared: Table[LazyContext] | None = None
        self._fingerprints: dict[str, str] = {}
        self._noting = threading.Lock()  # a context may be built on the loop while a generation is prepared

    def load_from(self, load: Callable[[str], Bundle]) -> None:
        """Take bundles by `load`, the store's: a store needs its publisher before it can be asked."""
        self._load = load

    @property
    def table(self) -> Table[LazyContext]:
        """What is served now."""
        return self._contexts.table

    def is_ours(self, name: str) -> bool:
        """Say whether a certificate that is served now covers this host name."""
        return self.table.has_row(name)

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Tell the leaf's fingerprint of each bundle of `table` that was built; what is given never changes.

        Who reads it just after `table` keeps it, however many generations come during its handshake.
        """
        return self._fingerprints

    def fingerprint(self, bundle_id: str) -> str:
        """Give the leaf's fingerprint of a bundle that is served here; "" for another."""
        return self._fingerprints.get(bundle_id, "")

    def prepare(self, generation: Generation) -> None:
        """Build what `generation` needs, beside what is served. Raises ContextError or StoreError."""
        self._prepared = self._contexts.prepare(generation, self._bundle)

    def commit(self, generation: Generation) -> None:
        """Serve what was prepared; a generation that wasn't is prepared first, and may raise as that."""
        table, self._prepared = self._prepared, None
        if table is None or table.number != generation.number:
            table = self._contexts.prepare(generation, self._bundle)
        # A connection that has just read the last table asks for its fingerprints next: keep them once more.
        served = {context.wanted for one in (self.table, table) for context in one.entries()}
        self._contexts.commit(table)
        with self._noting:
            self._fingerprints = {id_: fp for id_, fp in self._fingerprints.items() if id_ in served}

    def staple(self, staples: Sequence[Staple]) -> None:
        """Staple exactly these from the next handshake on, where this worker staples at all."""
        if (held := self._contexts.staples) is not None:
            held.take((one.bundle, one.answer, one.holds_s) for one in staples)

    def end(self, bundles: Collection[str], why: str) -> None:
        """Nothing: who has the connections ends them (worker.py)."""

    def serve_in_memory(self, bundle: Bundle) -> None:
        """Serve one bundle to everybody without any store: the last rung, where the disk can't be used."""
        self._fingerprints = {bundle.id: bundle.fingerprint}
        self._contexts.serve_only(bundle)

    def renew_tickets(self) -> Mapping[str, str]:
        """Give every context fresh ticket keys, in a worker thread; gives the bundles whose stay, and why."""
        return self._contexts.renew_tickets()

    def _bundle(self, bundle_id: str) -> Bundle:
        assert self._load is not None, "load_from comes before the first generation"
        bundle = self._load(bundle_id)
        if self._fingerprints.get(bundle_id) != bundle.fingerprint:
            with self._noting:  # replaced, not changed: connections read it meanwhile
                self._fingerprints = {**self._fingerprints, bundle_id: bundle.fingerprint}
        return bundle
