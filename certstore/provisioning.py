"""Provisioning: how a device gets an identity for life from its manufacturer, on a line that may lose power.

    request    makes the key here, once, and says what the manufacturer is to sign; again: the very same
    install    takes the certificate into the factory slot and seals it; again: nothing changes
    state      what there is

Promises: the key waits in `authority/factory/`, where no worker and no other source can reach it, and is
made only once the kernel's random generator is ready. Stopped at any disk step, the same command run again
comes to the same end: key and request appear by one rename, and the waiting key goes only once a bundle on
the shelf holds it. A sealed slot gives way to nothing but `unsafe_reseal`. Refuses to know who signs, and how
requests and certificates travel.

Theory. *One identity.* Another certificate of the factory has, as likely as not, other names, so it would lie
in a slot of its own; so the seal is the source's, not one slot's (proposing.py). *The same certificate* is
the same leaf with no more chain than is here: a line that repeats a step may leave the chain out. *Another
device's certificate* is the mistake that lines make, and the worst one to seal: it is told as such
(`factory_not_ours`), and a serial number that isn't this device's is refused, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

from certstore import layout
from certstore.atomic import Disk
from certstore.bundle import Bundle, PrivateKey, key_words
from certstore.changing import Case, Changing
from certstore.decode import Candidate
from certstore.errors import Refusal, StoreError
from certstore.examination import Examiner
from certstore.factoryrequest import Waiting, put, read_waiting, remove, request_pem
from certstore.factorystate import FactoryState
from certstore.findings import Finding, found
from certstore.issuers import factory
from certstore.issuers.selfsigned import Identity
from certstore.names import is_address
from certstore.proposing import Proposing, Terms
from certstore.reading import read_bundle, read_slots
from certstore.receipts import Receipt
from certstore.slots import Slot, Source

__all__ = ["Factory", "factory_slot", "read_factory"]

_NOT_OURS = frozenset({"certificate_without_key", "key_mismatch"})


class Factory:
    """The manufacturer's door of a store. What changes something blocks on the disk, as in the store."""

    def __init__(
        self,
        root: Path,
        disk: Disk,
        change: Callable[[], AbstractContextManager[None]],
        changing: Changing,
        proposing: Proposing,
    ) -> None:
        """Take the store's folder and rooms; `change` lets nobody else change anything meanwhile."""
        self._root, self._disk = root, disk
        self._change, self._changing, self._proposing = change, changing, proposing
        self._shelf, self._succession = proposing.shelf, proposing.succession

    def state(self) -> FactoryState:
        """Say what there is; from any thread. Raises StoreError where that can't be read."""
        return _state(self._root, self._slot(), self._shelf.bundle)

    def request(
        self,
        default: Identity,
        *,
        serial: str | None = None,
        names: tuple[str, ...] | None = None,
        unsafe_reseal: bool = False,
    ) -> FactoryState:
        """Have a key and a request for it wait, if nothing is provisioned; gives what there is then.

        default: who the device is where nothing is said and nothing waits. With another serial number or
        other names than the waiting request has, the request is made anew, for the same key. unsafe_reseal:
        a provisioned device asks again, for the key that it has; nothing is written. A banned key
        gives way to a new one: that of a sealed slot only with unsafe_reseal.

        Raises Refusal (`factory_serial_missing`, `factory_serial_unusable`), RandomNotReady where a key would
        have to be made too early, or another StoreError.
        """
        with self._change():
            slot = self._slot()
            if slot is not None and not (self._is_lost(slot) and (unsafe_reseal or not slot.sealed)):
                return self._request_again(slot, serial, names, unsafe_reseal=unsafe_reseal)
            waiting = read_waiting(self._root)
            known = waiting.known if waiting is not None else None
            wanted = _wanted(known or default, serial, names)
            if waiting is not None and waiting.spki in self._shelf.bans:
                waiting = None
            asks = waiting.identity if waiting is not None else None
            if waiting is None or asks is None or _told(asks) != _told(wanted):
                waiting = put(self._root, self._disk, wanted, waiting)
            return waiting.state

    def install(
        self, candidate: Candidate, *, via: str, examiner: Examiner, unsafe_reseal: bool = False
    ) -> Receipt:
        """Take the manufacturer's certificate into the factory slot, sealed; gives its receipt.

        The one that is there already changes nothing (`already_live`). Refused as any candidate, and where it
        is another device's (`factory_not_ours`, `factory_serial_differs`) or another one is sealed here
        (`slot_sealed`), unless `unsafe_reseal`. Raises StoreError as `Store.propose`.
        """
        with self._change():
            return self._changing.handle(
                Source.FACTORY,
                via,
                lambda case: self._install(case, candidate, examiner, unsafe_reseal=unsafe_reseal),
            )

    def settle(self) -> None:
        """Let a waiting key go that a bundle in the slot holds: what a stopped `install` left undone."""
        with suppress(StoreError):
            self._let_go()

    def _install(
        self, case: Case, candidate: Candidate, examiner: Examiner, *, unsafe_reseal: bool
    ) -> Receipt:
        slot, waiting = self._slot(), read_waiting(self._root)

        def known_key(spki: str) -> PrivateKey | None:
            if waiting is not None and waiting.spki == spki:
                return waiting.key
            return self._shelf.key(spki)

        def look(bundle: Bundle) -> None:
            _compare_serials(bundle, self._serial(slot, waiting))

        terms = Terms(known_key, seals=True, unseals=unsafe_reseal, look=look)
        try:
            receipt = self._proposing.propose(case, candidate, examiner, terms)
        except Refusal as refusal:
            told = {finding.code for finding in refusal.findings}
            if _NOT_OURS.isdisjoint(told):
                raise
            if slot is not None and not unsafe_reseal:
                raise Refusal(found("slot_sealed", source=Source.FACTORY), *refusal.findings) from None
            raise Refusal(self._not_ours(slot, waiting), *refusal.findings) from None
        self.settle()
        return receipt

    def _slot(self) -> Slot | None:
        return factory_slot(self._succession.view.slots.values())

    def _is_lost(self, slot: Slot) -> bool:
        """Whether what it was provisioned with has a banned key."""
        return self._shelf.is_banned(slot.bundle)

    def _serial(self, slot: Slot | None, waiting: Waiting | None) -> str:
        """Tell the serial number that this device has asked for, or has."""
        if waiting is not None and waiting.known is not None:
            return waiting.known.serial
        with suppress(StoreError):
            return factory.serial_in(self._shelf.bundle(slot.bundle).leaf.subject) if slot is not None else ""
        return ""

    def _not_ours(self, slot: Slot | None, waiting: Waiting | None) -> Finding:
        wanted = key_words(waiting.key.public_key()) if waiting is not None else "none that waits"
        if waiting is None and slot is not None:
            with suppress(StoreError):
                wanted = key_words(self._shelf.bundle(slot.bundle).key.public_key())
        return found("factory_not_ours", wanted=wanted)

    def _request_again(
        self, slot: Slot, serial: str | None, names: tuple[str, ...] | None, *, unsafe_reseal: bool
    ) -> FactoryState:
        bundle = self._shelf.bundle(slot.bundle)
        state = FactoryState.of_bundle(bundle, slot)
        if not unsafe_reseal:
            return state
        wanted = _wanted(Identity(bundle.names, state.serial, ""), serial, names)
        asked = request_pem(factory.request(wanted, bundle.key))
        return state.with_request(asked, wanted.serial, wanted.names)

    def forget_request(self) -> bool:
        """Remove the key that waits, where it is another unit's; says whether one waited. Raises StoreError.

        A store that was copied after it was asked would have one key on every copy.
        """
        with self._change():
            waited = (self._root / layout.FACTORY_REQUEST).exists()
            remove(self._root, self._disk)
        return waited

    def _let_go(self) -> None:
        slot, waiting = self._slot(), read_waiting(self._root)
        if slot is None or waiting is None or not slot.is_confirmed:
            return
        if self._shelf.bundle(slot.bundle).spki == waiting.spki:
            remove(self._root, self._disk)


def factory_slot(slots: Iterable[Slot]) -> Slot | None:
    """Give the one of the factory's slots that counts: the sealed one, else the newest."""
    own = [slot for slot in slots if slot.source is Source.FACTORY]
    return max(own, key=lambda slot: (slot.sealed, slot.newness), default=None)


def read_factory(root: Path) -> FactoryState:
    """Say what a store has of the manufacturer, whoever holds it. Raises StoreError."""
    slots, _ = read_slots(root)
    return _state(root, factory_slot(slots), partial(read_bundle, root))


def _state(root: Path, slot: Slot | None, read: Callable[[str], Bundle]) -> FactoryState:
    if slot is not None:
        return FactoryState.of_bundle(read(slot.bundle), slot)
    waiting = read_waiting(root)
    return FactoryState() if waiting is None else waiting.state


def _wanted(base: Identity, serial: str | None, names: tuple[str, ...] | None) -> Identity:
    """Say who asks: the name for people is the first host name, else the serial number."""
    names = base.names if names is None else names
    serial = base.serial if serial is None else serial
    hosts = [name for name in names if not is_address(name) and not name.startswith("*.")]
    return Identity(names, serial, (hosts or [serial])[0])


def _told(identity: Identity) -> tuple[tuple[str, ...], str]:
    return identity.names, identity.serial


def _compare_serials(bundle: Bundle, wanted: str) -> None:
    """Refuse a certificate for another serial number; authorities may write more around it (`PID:X SN:1`)."""
    given = factory.serial_in(bundle.leaf.subject)
    if given and wanted not in given:
        raise Refusal(found("factory_serial_differs", given=given, wanted=wanted))
