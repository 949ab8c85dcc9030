"""What is left of earlier ACME enrolments: told once, and taken away when nobody needs it any more.

Promises: nothing goes before what is wanted now has come, so that nobody is locked out by it. Refuses to know
what counts as left (acmeleft.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from certstore import Finding, Refusal, Slot, StoreError
from tlsproxy.acmebooks import Books
from tlsproxy.acmeleft import Left
from tlsproxy.errors import ThreadError
from tlsproxy.observe.log import logger
from tlsproxy.threads import in_thread

__all__ = ["Tidying"]

_log = logger("acme")


class Tidying:
    """Looks after what is left. On the event loop."""

    def __init__(self, retire: Callable[[Slot], Awaitable[object]], tell: Callable[[Finding], None]) -> None:
        """Take who takes a certificate away (raises StoreError or Refusal), and who is told."""
        self._retire, self._tell = retire, tell
        self._left: tuple[Left, ...] = ()
        self._unretired = set[Slot]()

    def findings(self) -> Iterator[Finding]:
        """Say what is left whose names nobody else stands for."""
        yield from (one.finding() for one in self._left if one.names)

    async def tidy(self, books: Books, *, is_new: bool) -> None:
        """See what is left, tell what is new of it, and take away what nobody needs.

        is_new: what is wanted has just come. Raises StoreError or ThreadError.
        """
        told = set(self.findings())
        self._left = await in_thread(books.left)
        for news in self.findings():
            if news not in told:
                self._tell(news)
        if is_new:
            self._unretired.clear()
        ready = {one.slot for one in self._left if one.has_ended or (is_new and one.is_replaced)}
        going = ready - self._unretired
        if not going or not await in_thread(books.current):
            return
        for slot in going:
            try:
                await self._retire(slot)
            except (StoreError, Refusal, ThreadError) as error:  # it is told, and not tried each turn
                self._unretired.add(slot)
                _log.warning("acme_left_stays", names=list(slot.names), why=str(error))
        self._left = await in_thread(books.left)
