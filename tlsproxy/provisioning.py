"""The factory's desk of a running proxy: what the control API is asked on a production line.

Promises: what was asked and installed stands in the audit log with who asked; an installation is told as any
other change. The store alone decides (certstore/provisioning.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import trio

from certstore import Candidate, Receipt, Refusal, Store, StoreError
from certstore.factorystate import FactoryState
from tlsproxy import device
from tlsproxy.control.peers import Peer
from tlsproxy.controller import Controller
from tlsproxy.observe.audit import Actor

__all__ = ["REQUEST", "FactoryDesk"]

REQUEST = "factory_request"
"""The name of a request in the audit log."""


@dataclass(frozen=True, slots=True)
class FactoryDesk:
    """Implements control/backing.py's seam `Provisioning`."""

    controller: Controller

    async def request(
        self, serial: str | None, names: tuple[str, ...] | None, *, by: Peer, unsafe_reseal: bool
    ) -> FactoryState:
        """Have a key and its request wait. Raises Refusal or StoreError."""
        default = device.factory_identity(self.controller.config.identity)
        factory, audit = self.controller.store.factory, self.controller.audit
        act = partial(factory.request, default, serial=serial, names=names, unsafe_reseal=unsafe_reseal)
        actor = Actor("socket", uid=by.uid, pid=by.pid)
        try:
            state = await trio.to_thread.run_sync(act)
        except (StoreError, Refusal) as error:
            codes = [error.code] if isinstance(error, StoreError) else [f.code for f in error.findings]
            audit.note(actor, REQUEST, "failed", codes=codes)
            raise
        audit.note(actor, REQUEST, str(state.stage), serial=state.serial, spki=state.spki)
        return state

    async def install(self, candidate: Candidate, via: str, *, by: Peer, unsafe_reseal: bool) -> Receipt:
        """Bring the manufacturer's certificate to its end: sealed or refused. Raises StoreError."""

        def install(store: Store) -> Receipt:
            examiner = self.controller.examiner
            return store.factory.install(candidate, via=via, examiner=examiner, unsafe_reseal=unsafe_reseal)

        return await self.controller.change("factory_install", install, by)
