"""Whether authorities are asked about our certificates at all: who does it, where that is configured.

Nobody else carries what it takes: it is imported when it is wanted. Where it isn't, what was known of a time
when it was is forgotten, for nobody would tell that it is over.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from certstore import Refusal, Store, StoreError
from tlsproxy.config import Config
from tlsproxy.errors import ProxyError
from tlsproxy.threads import in_thread
from tlsproxy.tls.engines import resolve
from tlsproxy.workers.stapling import Stapling

if TYPE_CHECKING:
    from tlsproxy.revocationasking import Weigher
    from tlsproxy.revocationkeeping import RevocationKeeper

__all__ = ["keep_revocations", "keeper_for"]


def keeper_for(
    config: Config, store: Store, weigher: Weigher, clock: Callable[[], datetime], stapling: Stapling
) -> RevocationKeeper | None:
    """Give who asks; None where nobody is to."""
    checks, tls = config.checks, config.tls
    if not checks.revocation:
        return None
    from tlsproxy.revocationasking import Asker
    from tlsproxy.revocationkeeping import Manner, RevocationKeeper

    can_staple = resolve(tls.engine, tls.policy) == "bundled"
    manner = Manner(timedelta(seconds=checks.revocation_s), can_staple)
    return RevocationKeeper(store, Asker(weigher, clock, checks.revocation_allow), stapling, clock, manner)


async def keep_revocations(keeper: RevocationKeeper | None, store: Store) -> None:
    """Ask until cancelled; without a keeper, forget what is known."""
    if keeper is not None:
        await keeper.run()
    elif store.revoked:
        with suppress(StoreError, ProxyError, Refusal):  # the next start tries again
            await in_thread(lambda: store.note_revoked(()))
