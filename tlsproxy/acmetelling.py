"""How a certificate of an ACME authority comes, told as it happens: what is waited for, and what came of it.

Promises: each thing once, in the log and to followers of events; what came of a try is told last of all, so
that whoever hears it and asks how things stand is told of the end. What an authority says is in it only as
findings have it: printable and bounded. Refuses to know who follows.

    asked        somebody wants a certificate from now on, or the next one now
    step         what is waited for: `step`, `names`, `challenge`, `authority`, `until` at the longest,
                 `why` it takes another try, or ""; and `key_type` of the one that it is about, where an EC
                 and an RSA certificate are to come
    issued       it has come: `names`, `authority`, `not_after`; with `key_type` where of an EC and an RSA one
                 only that one has: `failed` follows, about the other
    failed       it hasn't: `code`, `words`, `hint`, `failures` in a row, `next_at`
    paused       somebody asked for something else in the midst; it goes on by itself
    disabled     nothing is wanted any more
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tlsproxy.observe.log import logger

if TYPE_CHECKING:
    from certstore import KeyType
    from certstore.issuers.acme.enrolment import Enrolment, Renewal
    from certstore.issuers.acme.errors import AcmeError
    from certstore.issuers.acme.wishes import Issued, Progress, Server

__all__ = ["Herald", "Telling"]

Telling = Callable[[Mapping[str, object]], None]
_log = logger("acme")
_MOST_NAMES = 20  # of those that are waited for: who wants a hundred knows them


def _untold(_facts: Mapping[str, object]) -> None:
    """Tell nobody."""


class Herald:
    """Tells of one keeper's work. On the event loop. `tell` gets the facts of each event."""

    def __init__(self) -> None:
        self.tell: Telling = _untold
        self.progress: Progress | None = None
        """What a try waits for now; None where none is under way."""
        self._last: dict[str, object] = {}
        self._outcome: Mapping[str, object] | None = None

    def asked(self, enrolment: Enrolment) -> None:
        """Tell that somebody wants one at once."""
        self.tell({"state": "asked", "names": list(enrolment.names), "authority": enrolment.directory})

    def disabled(self) -> None:
        """Tell that nothing is wanted any more."""
        self.tell({"state": "disabled"})

    def step(
        self, progress: Progress, enrolment: Enrolment, server: Server, key_type: KeyType | None = None
    ) -> None:
        """Tell what is waited for, where that is something else than before.

        key_type: of two certificates the one that it is about.
        """
        self.progress = progress
        facts: dict[str, object] = {
            "state": "step",
            "step": str(progress.step),
            "names": list(progress.names[:_MOST_NAMES]),
            "challenge": str(enrolment.challenge),
            "authority": server.directory,
        }
        if key_type is not None and progress.step != "account":  # which is both's
            facts["key_type"] = str(key_type)
        if facts == self._last:
            return
        self._last = facts
        _log.info("acme_progress", step=str(progress.step), names=facts["names"])
        self.tell({**facts, "until": _text(progress.until), "why": ""})

    def again(self, error: AcmeError) -> None:
        """Tell why what is waited for takes another try; nothing where nobody waits."""
        if self._last:
            _log.info("acme_tried_again", step=self._last["step"], code=error.code, why=str(error))
            self.tell({**self._last, "until": None, "why": str(error)})

    def issued(self, issued: Sequence[Issued], authority: str) -> None:
        """Note that it has come; of two the end of the one that ends first."""
        until = min(one.leaf.not_valid_after_utc for one in issued).isoformat()
        facts = {"names": list(issued[0].names), "authority": authority, "not_after": until}
        _log.info("acme_issued", **facts)
        self._outcome = {"state": "issued", **facts}

    def issued_one(self, one: Issued, authority: str) -> None:
        """Tell that one of two has come; what becomes of the other follows."""
        facts = {"names": list(one.names), "authority": authority, "key_type": str(one.key_type)}
        facts |= {"not_after": one.leaf.not_valid_after_utc.isoformat()}
        _log.info("acme_issued", **facts)
        self.tell({"state": "issued", **facts})

    def failed(self, error: AcmeError, renewal: Renewal) -> None:
        """Note that it hasn't, and why."""
        words = {"code": error.code, "words": str(error), "hint": error.hint}
        counted = {"failures": renewal.failures, "next_at": _text(renewal.next_at)}
        _log.warning("acme_failed", **counted, **words)
        self._outcome = {"state": "failed", **words, **counted}

    def put_off(self, error: Exception, code: str, renewal: Renewal) -> None:
        """Note that the store, or this machine, couldn't take part."""
        words = {"code": code, "words": str(error), "hint": str(getattr(error, "hint", ""))}
        counted = {"failures": renewal.failures, "next_at": _text(renewal.next_at)}
        self._outcome = {"state": "failed", **words, **counted}

    def quiet(self) -> None:
        """Wait for nothing any more."""
        self.progress, self._last = None, {}

    def rest(self) -> None:
        """Tell what came of a try, which is over, or was let go of."""
        outcome, self._outcome = self._outcome or {"state": "paused"}, None
        self.quiet()
        self.tell(outcome)


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
