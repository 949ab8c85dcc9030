"""What the control API needs of the rest of the house: the seams, and all of them together.

Promises: whatever is behind a seam may raise StoreError and ProxyError, which become problem documents.
Refuses to know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from certstore import Authority, Bundle, Candidate, Reason, Receipt, Store
from certstore.factorystate import FactoryState
from tlsproxy.control.peers import Peer
from tlsproxy.observe.clientreport import ClientReport
from tlsproxy.observe.events import EventLog
from tlsproxy.observe.health import Health
from tlsproxy.observe.status import WorkerStatus
from tlsproxy.rehearsal import Rehearsal
from tlsproxy.scopes import Word

if TYPE_CHECKING:
    from certstore.issuers.acme.enrolment import Enrolment
    from tlsproxy.acmekeeping import Terms
    from tlsproxy.acmelookout import Question
    from tlsproxy.acmeoutlook import Outlook, Plan

__all__ = [
    "Backing",
    "Changing",
    "Enrolling",
    "Foreseeing",
    "Provisioning",
    "Reloading",
    "Resetting",
    "Telling",
]

T = TypeVar("T")


class Telling(Protocol):
    """What is known of the running proxy; quick, called in the event loop."""

    def status(self) -> dict[str, object]:
        """Give the status document."""
        ...

    def health(self) -> Health:
        """Say how the proxy is."""
        ...

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Give all metrics and their content type, as the Accept field's value asks."""
        ...

    async def client_report(self) -> ClientReport:
        """Say what clients were here."""
        ...

    def worker_statuses(self) -> tuple[WorkerStatus, ...]:
        """Say which workers there are."""
        ...


class Changing(Protocol):
    """What changes the store. `by` is who asked."""

    async def propose(  # noqa: PLR0913  as Store.propose
        self,
        candidate: Candidate,
        via: str,
        *,
        by: Peer,
        confirm_within_s: float | None,
        reason: Reason,
        word: str,
        beside: bool,
    ) -> Receipt:
        """Return when its receipt is live or refused. word: the hash of what confirms it, "" for nothing.

        beside: as `Store.propose` takes it.
        """
        ...

    async def change(self, what: str, act: Callable[[Store], Receipt], by: Peer) -> Receipt:
        """Carry out another change of the store, `what` by its name; returns when it is live or refused."""
        ...

    async def put_trust(self, name: str, candidate: Candidate, via: str, *, by: Peer) -> Receipt:
        """Have a trust set hold what is in these files; returns when that is live or refused."""
        ...

    async def carry_out(
        self, what: str, act: Callable[[Store], T], by: Peer, facts: Callable[[T], Mapping[str, object]]
    ) -> T:
        """Carry out what changes nothing that is served; `facts` of it go into the audit log."""
        ...

    async def renew_authority(self, by: Peer) -> Authority:
        """Make the device's own authority anew, for what the device is called now."""
        ...

    async def rehearse(self, candidate: Candidate, *, beside: bool) -> Rehearsal:
        """Examine a candidate and keep nothing of it. Raises Refusal."""
        ...


class Reloading(Protocol):
    """What reloads the proxy, in two steps. `by` is who asked."""

    async def check_reload(self, by: Peer) -> int:
        """Make a reload's pre-flight; gives the epoch that it will lead to. Raises ReloadError."""
        ...

    async def reload(self, by: Peer) -> None:
        """Reload after a pre-flight that went well; what goes wrong now is logged."""
        ...


class Provisioning(Protocol):
    """What gives the device its identity for life (certstore/provisioning.py). `by` is who asked."""

    async def request(
        self, serial: str | None, names: tuple[str, ...] | None, *, by: Peer, unsafe_reseal: bool
    ) -> FactoryState:
        """Have a key and its request wait; None is what waits already, else what the configuration says."""
        ...

    async def install(self, candidate: Candidate, via: str, *, by: Peer, unsafe_reseal: bool) -> Receipt:
        """Return when its receipt is live or refused."""
        ...


class Enrolling(Protocol):
    """What has certificates of an ACME authority (acmekeeping.py). `by` is who asked."""

    async def enable(self, make: Callable[..., Enrolment], terms: Terms, by: Peer) -> None:
        """Return when the authority knows this device, and the first order begins.

        make: gives what is wanted, `since` when; ValueError where that can't be had.
        """
        ...

    async def disable(self, by: Peer) -> None:
        """Want nothing any more."""
        ...

    async def renew(self, by: Peer) -> None:
        """Ask for the next one now."""
        ...

    async def revoke(self, reason: Reason, by: Peer) -> None:
        """Have the certificate that is there revoked, and ask for another, but where all use ends."""
        ...

    async def roll_over(self, by: Peer) -> None:
        """Give the accounts new keys."""
        ...

    async def standing(self) -> dict[str, object] | None:
        """Say what is wanted, and how it goes; None where nothing is."""
        ...


class Foreseeing(Protocol):
    """What tells beforehand how an authority could prove names here (acmelookout.py)."""

    async def look(self, question: Question) -> tuple[Plan, Outlook]:
        """Look, which takes seconds. NotFound where nobody says which names."""
        ...


class Resetting(Protocol):
    """What brings the factory's state back. `by` is who asked."""

    async def reset(self, words: Iterable[Word], via: str, by: Peer) -> Receipt:
        """Return when it is live or refused."""
        ...

    async def enable_watches(self, by: Peer) -> bool:
        """Have watched directories looked at again; False where they were."""
        ...


@dataclass(frozen=True, slots=True)
class Backing:
    """All that an operation may ask."""

    telling: Telling
    changing: Changing
    reloading: Reloading
    store: Store
    events: EventLog
    provisioning: Provisioning
    resetting: Resetting
    enrolling: Enrolling
    foreseeing: Foreseeing
    fresh_identity: Callable[[], Bundle] | None = None
    """Makes the device an identity with another key; called in a worker thread."""
    rule_of: Callable[[str], str] = lambda _name: ""
    """Says for which names a trust set is asked by the configuration; "" for none."""
