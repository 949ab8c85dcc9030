"""What inbox tests share: a real store, an inbox that is looked after, and who waits for receipts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from certstore.examination import InProcess
from certstore.findings import Finding
from certstore.gathering import Timing
from certstore.inbox import Inbox
from certstore.receipts import Receipt, State
from certstore.slots import Source
from certstore.snapshot import Kind
from certstore.store import Store
from tests.storing import OpenGate, served

# As in life but for the patience, which would make each test of a broken file take five seconds.
TIMING = Timing(settle_s=0.15, patience_s=0.4, restless_s=5.0, lonely_s=3600.0)


class Watched:
    """A directory under an `Inbox`, and what has come of it."""

    inbox: Inbox

    def __init__(self, store: Store, path: Path) -> None:
        self.store, self.path = store, path
        self.receipts: list[Receipt] = []
        self.troubles: list[Finding] = []
        self.changed = trio.Event()

    def note(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        self._tell()

    def note_trouble(self, finding: Finding) -> None:
        self.troubles.append(finding)
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def receipt(self, number: int = 0) -> Receipt:
        """Wait for the receipt with this number, from 0."""
        while len(self.receipts) <= number:
            await self.changed.wait()
        return self.receipts[number]

    async def trouble(self, code: str) -> Finding:
        while True:
            for finding in self.troubles:
                if finding.code == code:
                    return finding
            await self.changed.wait()

    async def looks(self, count: int = 2) -> None:
        """Let it look some more times, so that what could still come has come."""
        for _ in range(count):
            self.inbox.hint()
            with trio.move_on_after(TIMING.patience_s):
                await self.changed.wait()

    def served(self) -> str | None:
        return served(self.store)

    def names(self) -> set[str]:
        return {path.name for path in self.path.iterdir() if path.name != ".refused"}

    def refused(self, receipt: Receipt) -> set[str]:
        folder = self.path / ".refused" / receipt.id
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def put(self, name: str, content: bytes) -> Path:
        """Put a file there at once, as a good program does."""
        aside = self.path / f".{name}"
        aside.write_bytes(content)
        return aside.rename(self.path / name)

    def codes(self) -> list[str]:
        return sorted(code for r in self.receipts if r.state is State.REFUSED for code in r.codes)


@asynccontextmanager
async def looked_after(
    store: Store, path: Path, kind: Kind = Kind.INBOX, *, within_s: float = 15.0, **more: Any
) -> AsyncIterator[Watched]:
    via = "inbox" if kind is Kind.INBOX else f"watch:{path}"
    settings: dict[str, Any] = {
        "timing": TIMING,
        "examiner": InProcess(OpenGate()),
        "source": Source.CUSTOMER,
        "via": via,
    } | more
    watched = Watched(store, path)
    inbox = watched.inbox = Inbox(
        store=store,
        path=path,
        kind=kind,
        clock=lambda: datetime.now(UTC),
        on_receipt=watched.note,
        on_trouble=watched.note_trouble,
        **settings,
    )
    with trio.fail_after(within_s):
        async with trio.open_nursery() as nursery:
            await nursery.start(inbox.run)
            yield watched
            nursery.cancel_scope.cancel()
