"""Trust sets as they change: whose clients are let in is a slot of its own, with receipts of its own.

Promises: what is wrong is refused, and leaves everybody in who was in before; a good set is whole on disk
before the generation that names it, and takes effect with that, in every worker, as a certificate does. A
generation holds its sets as it holds its rows, but going back to an older one leaves them as they are: a
revoked client, or one of an authority that was taken away, must not come back by a rollback. Refuses to know
which names ask their clients for certificates: whoever configures that says what is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from certstore import layout
from certstore.archive import Archive
from certstore.atomic import Disk
from certstore.changing import Case, Changing
from certstore.errors import NotFound, Refusal, StoreError
from certstore.findings import Finding, found
from certstore.generation import Trusted
from certstore.reading import read_trust
from certstore.receipts import Receipt
from certstore.succession import Succession
from certstore.trust import TrustSet, is_trust_name
from certstore.trustchecks import Files, Material, check_trust, join, read_material, standing

__all__ = ["TrustSlots", "Trusting"]

Read = Callable[[Files], Material]
"""Says what is in files, as `Examiner.read_material` does."""


@dataclass(frozen=True, slots=True)
class Trusting:
    """Carries out changes of trust sets."""

    root: Path
    disk: Disk
    archive: Archive
    changing: Changing
    succession: Succession
    clock: Callable[[], datetime]
    plausible: Callable[[], bool]

    @property
    def held(self) -> tuple[Trusted, ...]:
        """The sets that are in force, by name."""
        active = self.succession.view.active
        return active.trust if active is not None else ()

    def read(self, name: str) -> TrustSet | None:
        """Give the set that is in force; None for none. Raises StoreError where it can't be read."""
        id_ = next((one.id for one in self.held if one.name == name), None)
        return read_trust(self.root, id_) if id_ is not None else None

    def put(self, case: Case, name: str, files: Files, read: Read) -> Receipt:
        """Have the set `name` hold what is in these files. Raises Refusal or StoreError."""
        brought = read(files)
        self._refuse(case, brought.findings)
        before: TrustSet | None = None
        with suppress(StoreError):  # a damaged one is what its owner brings anew
            before = self.read(name)
        wanted, told = join(before, brought)
        case.tell(*told)
        now = self.clock() if self.plausible() else None
        self._refuse(case, check_trust(name, wanted, before, now))
        case.receipt = replace(case.receipt, trust=Trusted(name, wanted.id))
        active = self.succession.view.active
        if before is not None and wanted.id == before.id and active is not None:
            return self.changing.change_nothing(case, found("trust_unchanged", name=name), active.number)
        folder = self.root / layout.trust_folder(wanted.id)
        if before is None or not folder.is_dir():
            self.disk.remove_folder(folder)  # a damaged one with the same content
            files_now = {layout.ANCHORS: wanted.anchors_pem(), layout.CRLS: wanted.crls_pem()}
            self.disk.place_folder(folder, files_now)
        others = [one for one in self.held if one.name != name]
        return self._put(case, (*others, Trusted(name, wanted.id)))

    def remove(self, case: Case, name: str, rule: str) -> Receipt:
        """Let nobody in by the set `name`; refused where `rule` (whose names it is for) still asks for it."""
        if rule:
            raise Refusal(found("trust_in_use", name=name, rule=rule))
        case.tell(found("trust_removed", name=name))
        return self._put(case, tuple(one for one in self.held if one.name != name))

    def _put(self, case: Case, trust: tuple[Trusted, ...]) -> Receipt:
        receipt = self.changing.put_trust(case, tuple(sorted(trust, key=lambda one: one.name)))
        with suppress(StoreError):  # the next change tries again
            self._sweep()
        return receipt

    def _refuse(self, case: Case, findings: Iterable[Finding]) -> None:
        """Keep what is remarkable; refuse where something is wrong."""
        told = tuple(dict.fromkeys(findings))
        if any(one.is_error for one in told):
            raise Refusal(*told)
        case.tell(*told)

    def _sweep(self) -> None:
        """Remove the sets that no generation names any more."""
        named = {one.id for one in self.held}
        for number in self.archive.numbers():
            named |= self.archive.mentions(number).bundles
        for folder in (self.root / layout.TRUST).iterdir():
            if folder.name not in named and not folder.name.startswith(layout.ASIDE):
                self.disk.remove_folder(folder)


class TrustSlots:
    """A store's trust sets: what there is, and how it changes. Made by the store."""

    def __init__(self, trusting: Trusting, change: Callable[[], AbstractContextManager[None]]) -> None:
        """Take who carries changes out, and what is entered for one."""
        self._trusting, self._change = trusting, change
        self._known: dict[str, TrustSet] = {}

    @property
    def held(self) -> tuple[Trusted, ...]:
        """The sets that are in force, by name."""
        return self._trusting.held

    def read(self, name: str) -> TrustSet | None:
        """Give the set that is in force; None for none. Raises StoreError where it can't be read.

        Read once: a set never changes.
        """
        id_ = next((one.id for one in self.held if one.name == name), "")
        known = self._known.get(id_)
        if known is None and id_:
            known = self._trusting.read(name)
            kept = {one.id for one in self.held}
            self._known = {id_: one for id_, one in self._known.items() if id_ in kept}
            if known is not None:
                self._known[id_] = known
        return known

    def put(self, name: str, files: Files, *, via: str, read: Read = read_material) -> Receipt:
        """Have a set hold the authorities and revocation lists in these files (names and contents).

        read: says what is in them; in this process, unless told otherwise. Files with authorities name all of
        them; those with lists only replace the lists of their issuers. The receipt is confirmed or refused.
        Raises ValueError for what is no name, StoreError as `Store.propose`.
        """
        if not is_trust_name(name):
            raise ValueError("a trust set has a name of lower-case letters, digits and hyphens, 32 at most")
        return self._handle(via, name, partial(self._trusting.put, name=name, files=tuple(files), read=read))

    def remove(self, name: str, *, via: str, rule: str = "") -> Receipt:
        """Take a set away. rule: whose names still ask for it, "" for nobody's; then it is refused.

        Raises NotFound, and StoreError as `Store.propose`.
        """
        if all(one.name != name for one in self.held):
            raise NotFound("trust set", name)
        return self._handle(via, name, partial(self._trusting.remove, name=name, rule=rule))

    def standing(self, needed: Iterable[str] = ()) -> Iterator[Finding]:
        """Tell what ends soon or has ended, what is damaged, and which of the `needed` sets there isn't."""
        names = {one.name for one in self.held}
        for name in sorted(set(needed) - names):
            yield found("trust_missing", name=name)
        for name in sorted(names):
            try:
                held = self.read(name)
            except StoreError as error:
                yield found("trust_damaged", name=name, why=error)
                continue
            if held is not None and self._trusting.plausible():
                yield from standing(name, held, self._trusting.clock())

    def _handle(self, via: str, name: str, act: Callable[[Case], Receipt]) -> Receipt:
        with self._change():
            return self._trusting.changing.handle_trust(name, via, act)
