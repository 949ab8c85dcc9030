"""A factory reset: what a running proxy does beside the store, and what the command line shares with it.

Promises: nothing that lay in the inbox or in a watched directory before a reset is proposed after it, and no
order at an ACME authority goes on beside it: all that is held off until it is done. Refuses to know how the
store changes (certstore/resetting.py), and who asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from certstore import Bundle, Receipt, Reset, Scope, Store
from certstore.inbox import Inbox
from tlsproxy.control.peers import Peer
from tlsproxy.observe.audit import Actor, AuditLog, audit_files
from tlsproxy.scopes import Word

__all__ = ["Resetter", "wish"]


class Changing(Protocol):
    """Carries out a change of the store, and tells of it (controller.py)."""

    def __call__(self, what: str, act: Callable[[Store], Receipt], by: Peer, /) -> Awaitable[Receipt]:
        """Give its receipt."""
        ...


def wish(words: Iterable[Word], store: Path, inbox: Path, fresh: Callable[[], Bundle]) -> Reset:
    """Say what these words mean for a store; `fresh` makes a new identity where there is to be one."""
    wanted = frozenset(words)
    scopes = frozenset(Scope(word) for word in wanted & set(Scope))
    own = fresh() if Scope.IDENTITY in scopes else None
    beside = [inbox] if Scope.CUSTOMER in scopes else []
    if "audit" in wanted:
        beside += audit_files(store)
    return Reset(scopes, own, tuple(beside))


@dataclass(frozen=True, slots=True)
class Resetter:
    """Resets one running proxy. `change` is the controller's; `fresh` makes an identity, in a thread.

    at_rest: within it, no authority is asked for anything.
    """

    store: Store
    inbox: Path
    inboxes: Sequence[Inbox]
    at_rest: Callable[[], AbstractAsyncContextManager[None]]
    fresh: Callable[[], Bundle]
    change: Changing
    audit: AuditLog

    async def reset(self, words: Iterable[Word], via: str, by: Peer) -> Receipt:
        """Reset, and give the receipt: live, or refused with all as it was. Raises StoreError."""
        make = partial(wish, words, self.store.path, self.inbox, self.fresh)
        async with AsyncExitStack() as stack:
            for inbox in self.inboxes:
                await stack.enter_async_context(inbox.at_rest())
            await stack.enter_async_context(self.at_rest())
            receipt = await self.change("reset", lambda store: store.reset(make(), via=via), by)
            self._look_again()
        return receipt

    def renew_identity(self, tell: Callable[[Receipt], None]) -> Receipt:
        """Make a new identity in a worker thread, since the store was another unit's. Raises StoreError."""
        wanted = wish(("identity",), self.store.path, self.inbox, self.fresh)
        receipt = self.store.reset(wanted, via="identity")
        trio.from_thread.run_sync(tell, receipt)
        return receipt

    async def enable_watches(self, by: Peer) -> bool:
        """Have watched directories looked at again; False where they were. Raises StoreError."""
        enabled = await trio.to_thread.run_sync(self.store.enable_watches)
        if enabled:
            self.audit.note(Actor("socket", uid=by.uid, pid=by.pid), "enable_watches", "done")
            self._look_again()
        return enabled

    def _look_again(self) -> None:
        for inbox in self.inboxes:
            inbox.hint()
