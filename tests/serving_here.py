"""What a caretaker publishes to, with one data plane in this process instead of a crew of workers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from certstore import Bundle, Generation, StoreError
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import EngineName
from tlsproxy.tls.gate import HandshakeGate
from tlsproxy.workers.serving import Serving


class ServingHere:
    """Implements `caretaker.Publishing` by the real `Serving`."""

    def __init__(self, engine: EngineName = "bundled") -> None:
        self.engine: EngineName = engine
        self.serving = Serving(Contexts(TLSPolicy(), engine))
        self.in_memory = False
        self.ended: list[tuple[frozenset[str], str]] = []
        self._load: Callable[[str], Bundle] | None = None

    def load_from(self, load: Callable[[str], Bundle]) -> None:
        self._load = load
        self.serving.load_from(load)

    @property
    def serves(self) -> bool:
        return self.serving.table.choose(None, None) is not None

    def prepare(self, generation: Generation) -> None:
        self.serving.prepare(generation)

    def commit(self, generation: Generation) -> None:
        self.serving.commit(generation)
        self.in_memory = False

    def end(self, bundles: Collection[str], why: str) -> None:
        self.ended.append((frozenset(bundles), why))

    def serve_in_memory(self, bundle: Bundle | None) -> str | None:
        if bundle is None:
            return None
        self.serving.serve_in_memory(bundle)
        self.in_memory = True
        return bundle.fingerprint

    def unservable(self, ids: Iterable[str]) -> dict[str, str]:
        assert self._load is not None
        gate, found = HandshakeGate(TLSPolicy(), self.engine), {}
        for id_ in ids:
            with suppress(StoreError):
                faults = [fault.words for fault in gate.try_out(self._load(id_)) if fault.is_error]
                if faults:
                    found[id_] = "; ".join(faults)
        return found
