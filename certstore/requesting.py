"""The life of a request: made with its key, answered by a certificate, or removed, or expired.

Promises: a key is never made before the kernel's random generator is ready, and never leaves; a request waits
until a certificate for it is in use *for good*: one that is refused, or goes back from its probation, leaves
it waiting. Nothing is dropped in silence: beyond `MOST` a new request is refused, and what expires is told.
Refuses to know how a candidate is put together (decode.py asks `known_key`), and who wants a request.

Theory. A request is *answered* when a confirmed slot has a bundle with its key, that came after it: `since`
tells, and not a date, because clocks are set back. That is looked for after every change (`settle`), and
costs nothing while nothing waits, so there is no step that a crash could leave out: the bundle is on the
disk, proved and confirmed, before the request's own copy of the key goes; in between both are there, and the
next look finishes it. What was asked for is kept beside the bundle, so that its successor can be asked for
ahead of its end (`prepare`), once.

What comes with a backup lies here before the change that it belongs to is carried out, as a ban does
(bans.py). So it names the receipt of that change: where a power cut came between, the next start has refused
that one, and lets its requests go.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from certstore import firstboot
from certstore.atomic import Disk
from certstore.bundle import Bundle, PrivateKey, spki_of
from certstore.errors import NotFound, Refusal, StoreError
from certstore.findings import Finding, found
from certstore.generation import BundleFacts
from certstore.identity import due_at
from certstore.issuers import csr
from certstore.issuers.csr import LONGEST_COMMON_NAME, KeyType, Subject, Wanted
from certstore.names import covers, normalise
from certstore.requests import Request, Requests
from certstore.shelf import Shelf
from certstore.slots import Key, Slot, Source
from certstore.succession import Succession

__all__ = ["KEPT", "MOST", "Requesting", "Wish", "is_answered"]

# An authority of an office answers within weeks; a key that nobody asked for any more should not lie around.
KEPT: Final = timedelta(days=90)
LONGEST: Final = timedelta(days=3650)
# A device serves a handful of names, and each may be tried with some authorities.
MOST: Final = 20

_UNMATCHED: Final = frozenset({"certificate_without_key", "key_mismatch"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants; what isn't said is as in the bundle of the slot that it `renews`, or the default.

    `subject` by the names of its fields ("": leave it out); the common name is by default the first of the
    names. `same_key`: with the key of that slot's bundle, for who has pinned it.
    """

    names: tuple[str, ...] = ()
    key_type: KeyType | None = None
    subject: Mapping[str, str] = field(default_factory=dict)
    renews: Key | None = None
    same_key: bool = False


class Requesting:
    """Makes requests, and brings them to their end."""

    def __init__(
        self,
        place: tuple[Path, Disk],
        succession: Succession,
        shelf: Shelf,
        clock: Callable[[], datetime],
        clock_plausible: Callable[[], bool],
        change: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Take the store's folder and rooms, the time, and what holds its lock or raises why it can't."""
        self._requests = Requests(*place)
        self._succession, self._shelf = succession, shelf
        self._clock, self._clock_plausible, self._change = clock, clock_plausible, change

    def load(self, is_refused: Callable[[str], bool]) -> tuple[Finding, ...]:
        """Read what waits, and finish what the last run left; tells what can't be read.

        is_refused: whether the change with this receipt was not carried out.
        """
        damaged = self._requests.load()
        void = [one.id for one in self.all() if one.brought_by and is_refused(one.brought_by)]
        self._drop(void)
        self.settle()
        return tuple(found("request_damaged", why=error) for error in damaged)

    # --- looking: from any thread, without waiting ---

    def all(self) -> tuple[Request, ...]:
        """Give all that wait, the oldest first."""
        return tuple(self._requests.table.values())

    def request(self, id: str) -> Request:  # noqa: A002  it is the request's id
        """Give one. Raises NotFound."""
        return self._requests.request(id)

    def known_key(self, spki: str) -> PrivateKey | None:
        """Give the private key with this SPKI hash, where a bundle or a waiting request has it."""
        return self._shelf.key(spki) or self._requests.key(spki)

    def asked_for(self, spki: str) -> Request | None:
        """Give the request that waits with the key with this SPKI hash."""
        return self._requests.of(spki)

    def answers(self, bundle: Bundle) -> tuple[Finding, ...]:
        """Tell which request a bundle is the answer to, and what of it is missing."""
        request = self._requests.of(bundle.spki)
        if request is None:
            return ()
        told = found("request_answered", id=request.id, made_at=f"{request.made_at:%Y-%m-%d}")
        missing = [n for n in request.wanted.names if not any(covers(have, n) for have in bundle.names)]
        if not missing:
            return (told,)
        return (told, found("request_names_missing", id=request.id, names=", ".join(missing)))

    def unmatched(self, refusal: Refusal) -> tuple[Finding, ...]:
        """Tell whoever has a certificate without its key that what waits here isn't for it."""
        waiting = self._requests.table
        if waiting and any(finding.code in _UNMATCHED for finding in refusal.findings):
            return (found("requests_unmatched", count=len(waiting), ids=", ".join(waiting)),)
        return ()

    def is_answered(self, request: Request) -> bool:
        """Say whether its certificate is live, and waits for somebody's word."""
        slots = tuple(self._succession.view.slots.values())
        return any(is_answered(request, slot, self._spki) for slot in slots)

    # --- changing: blocks on the disk, and on the changes before it ---

    def make(self, wish: Wish, *, via: str) -> Request:
        """Make a key and a request for it; seconds for an RSA key, in which nobody else waits.

        Raises Refusal (`random_not_ready`, `requests_full`, `key_banned`),
        ValueError for names or a subject that can't be,
        NotFound for a slot or bundle that isn't there, StoreError.
        """
        self._check_room()
        old = self._renewed(wish)
        wanted = self._wanted(wish, old)
        if wish.same_key:
            if old is None:
                raise ValueError("only a renewal can be asked for with the same key")
            if old.spki in self._shelf.bans:
                raise Refusal(found("key_banned", key=old.spki))
            key = old.key
        else:
            if not firstboot.random_ready():
                raise Refusal(found("random_not_ready"))
            key = csr.new_key(wanted.key_type)
        pem, now = csr.request(wanted, key), self._clock()
        # the answer to a renewal may come late, but a certificate without end (9999) is nobody's to wait for
        until = now if old is None else max(now, min(old.not_after, now + LONGEST))
        with self._change():
            self._check_room()
            request = Request(
                id=self._new_id(),
                wanted=wanted,
                spki=spki_of(key.public_key()),
                made_at=now,
                expires_at=until + KEPT,
                via=via,
                since=self._succession.next_number,
                renews=old.id if old is not None else None,
                pem=pem,
            )
            self._requests.put(request, key)
        return request

    def remove(self, id: str) -> Request:  # noqa: A002  it is the request's id
        """Remove a request with its key: no certificate for it can be used any more. Raises NotFound."""
        with self._change():
            request = self._requests.request(id)
            self._requests.remove(id)
        return request

    def forget(self) -> tuple[Request, ...]:
        """Remove all that wait, since their keys are another unit's; gives them. Raises StoreError.

        What they were to renew is asked for anew, when that is due, with a key of this unit's own.
        """
        with self._change():
            gone = self.all()
            for request in gone:
                if request.renews is not None and request.renews in self._requests.answered:
                    self._requests.note_answered(request.renews, request.wanted)
                self._requests.remove(request.id)
        return gone

    def expire(self) -> tuple[Request, ...]:
        """Remove what waited in vain for too long; gives it. Nothing while the clock can't be right."""
        if not any(self._is_over(one) for one in self.all()):
            return ()
        with self._change():
            over = [one for one in self.all() if self._is_over(one)]
            for one in over:
                self._requests.remove(one.id)
        return tuple(over)

    def prepare(self) -> Request | None:
        """Ask once for the successor of a customer's certificate whose last third has begun.

        Only where that one came from a request itself. Gives the new request, one in a turn: an RSA key takes
        seconds. Raises as `make`.
        """
        if not (self._requests.answered and self._clock_plausible()):
            return None
        now, waiting = self._clock(), {one.renews for one in self.all()}
        for slot in tuple(self._succession.view.slots.values()):
            for id_ in slot.bundles:
                answered = self._requests.answered.get(id_)
                if answered is None or answered.prepared or not _may_renew(slot) or id_ in waiting:
                    continue
                if (facts := self._facts(id_)) is not None and now >= due_at(facts):
                    like = answered.wanted
                    wish = Wish(like.names, like.key_type, like.subject.to_json(), slot.key)
                    request = self.make(wish, via="renewal")
                    with self._change():
                        self._requests.note_prepared(id_)
                    return request
        return None

    # --- under the store's lock ---

    def settle(self) -> None:
        """Let go of requests that are answered for good; what the disk doesn't take is tried again."""
        for request in self.all():
            bundle = self._answer_to(request)
            if bundle is not None:
                with suppress(StoreError):
                    self._requests.note_answered(bundle, request.wanted)
                    self._requests.remove(request.id)

    def tidy(self) -> None:
        """Settle, and forget what is remembered of bundles that are gone. Raises StoreError."""
        self.settle()
        if self._requests.answered:
            kept = self._shelf.ids()
            self._requests.forget_answered(lambda bundle: bundle not in kept)

    @contextmanager
    def restoring(self, receipt: str, taken: Iterable[tuple[Request, PrivateKey]]) -> Iterator[None]:
        """Let the requests of a backup that don't wait here do so; none where what is done within fails.

        receipt: that of the change that is done within. Raises Refusal (`requests_full`) or StoreError.
        """
        came = list[str]()
        before = self._succession.view.active
        try:
            for request, key in taken:
                if request.id not in self._requests.table and self._requests.of(request.spki) is None:
                    self._check_room()
                    came.append(request.id)
                    self._requests.put(replace(request, brought_by=receipt), key)
            yield
        except BaseException:
            if self._succession.view.active is before:  # else it is served, whatever came behind that
                self._drop(came)
            raise

    def _drop(self, ids: Iterable[str]) -> None:
        """Let go of requests that never came, in memory at least: the next start finds the others again."""
        for id_ in ids:
            with suppress(StoreError):
                self._requests.drop(id_)

    def _answer_to(self, request: Request) -> str | None:
        """Give the bundle that answers a request for good, proved to be whole."""
        for slot in self._succession.view.slots.values():
            if slot.is_confirmed and (answer := _answer_in(slot, request, self._spki)) is not None:
                return answer if self._shelf.is_whole(answer) else None
        return None

    def _spki(self, bundle: str) -> str | None:
        try:
            return self._shelf.meta(bundle).spki
        except StoreError:
            return None

    def _facts(self, bundle: str) -> BundleFacts | None:
        return self._shelf.facts([bundle]).get(bundle)

    def _is_over(self, request: Request) -> bool:
        """Say whether it has waited for too long; but what is in its probation now may yet go back."""
        is_late = self._clock() >= request.expires_at and self._clock_plausible()
        return is_late and not self.is_answered(request)

    def _check_room(self) -> None:
        if len(self._requests.table) >= MOST:
            oldest = self.all()[0]
            facts = {"count": len(self._requests.table), "id": oldest.id}
            raise Refusal(found("requests_full", **facts, made_at=f"{oldest.made_at:%Y-%m-%d}"))

    def _renewed(self, wish: Wish) -> Bundle | None:
        """Give the bundle that is to be renewed. Raises NotFound or StoreError."""
        if wish.renews is None:
            return None
        slot = self._succession.view.slots.get(wish.renews)
        if slot is None:
            raise NotFound("slot", "/".join(wish.renews))
        held = [self._shelf.bundle(id_) for id_ in slot.bundles]
        return next((one for one in held if KeyType.of(one.leaf.public_key()) is wish.key_type), held[0])

    def _wanted(self, wish: Wish, old: Bundle | None) -> Wanted:
        """Fill in what wasn't said. Raises ValueError."""
        names, kind = wish.names, wish.key_type
        if wish.same_key and kind is not None:
            raise ValueError("the same key can't be of another type")
        if old is not None:
            names = names or old.names
            kind = kind or KeyType.of(old.leaf.public_key())
        wanted = Wanted(names, kind or KeyType.EC)
        if old is not None:
            like = Subject.of(old.leaf.subject).to_json()
        else:
            first = normalise(names[0])
            like = {"common_name": first} if len(first) <= LONGEST_COMMON_NAME else {}
        return replace(wanted, subject=Subject.from_json({**like, **wish.subject}))

    def _new_id(self) -> str:
        while (id_ := secrets.token_hex(4)) in self._requests.table:
            pass
        return id_


def is_answered(request: Request, slot: Slot, spki_of_bundle: Callable[[str], str | None]) -> bool:
    """Say whether a slot has the answer to a request, confirmed or not."""
    return _answer_in(slot, request, spki_of_bundle) is not None


def _answer_in(slot: Slot, request: Request, spki_of_bundle: Callable[[str], str | None]) -> str | None:
    if slot.since < request.since:
        return None
    later = (id_ for id_ in slot.bundles if id_ != request.renews)
    return next((id_ for id_ in later if spki_of_bundle(id_) == request.spki), None)


def _may_renew(slot: Slot) -> bool:
    return slot.source is Source.CUSTOMER and slot.is_confirmed and not slot.sealed
