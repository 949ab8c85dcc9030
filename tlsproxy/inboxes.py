"""The directories that are looked at for certificates: our inbox, and those of other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from certstore import Examiner, Finding, Receipt, Source, Store
from certstore.inbox import Inbox
from certstore.snapshot import Kind
from tlsproxy.config import Config

__all__ = ["inboxes_of"]


def inboxes_of(
    config: Config,
    store: Store,
    examiner: Callable[[Source], Examiner],
    clock: Callable[[], datetime],
    on_receipt: Callable[[Receipt], None],
    on_trouble: Callable[[Finding], None],
) -> Iterator[Inbox]:
    """Give one for each configured directory, the inbox first; who takes them runs them.

    examiner: gives the one for candidates of a source.
    """
    own = (config.inbox, Kind.INBOX, Source.CUSTOMER, "inbox")
    foreign = ((w.path, Kind.WATCH, w.slot, f"watch:{w.path}") for w in config.watches)
    for path, kind, source, via in (own, *foreign):
        yield Inbox(
            store=store,
            path=path,
            kind=kind,
            source=source,
            via=via,
            examiner=examiner(source),
            clock=clock,
            on_receipt=on_receipt,
            on_trouble=on_trouble,
        )
