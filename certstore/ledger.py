"""The receipts on disk, and what was handled before.

`Ledger` writes receipts and knows their order; `Handled` remembers which content at which path had which
receipt, so that a rescan never brings back what was dealt with. Both are bounded. Reading is safe from any
thread; the rest wants the store's lock. Neither decides what becomes of a candidate.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from certstore import layout, records
from certstore.atomic import Disk
from certstore.errors import NotFound, StoreCorrupt
from certstore.findings import Finding
from certstore.generation import Cause, Trusted
from certstore.reading import read_receipts
from certstore.receipts import WITNESSES, Receipt, State, newest_seen, receipt_id, sequence_of
from certstore.slots import Source

__all__ = ["Handled", "Ledger"]

# Two years of a daily renewal, or 250 KB. What a kept generation names is kept beyond it.
MAX_RECEIPTS = 500
# A directory holds some tens of files; each of their versions counts once. 4 KB each on most file systems.
MAX_HANDLED = 1000


class Ledger:
    """The folder `receipts/`."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._root = root
        self._disk = disk
        self._receipts: dict[str, Receipt] = {}  # oldest first
        self._next = 1
        self._owed: dict[str, None] = {}  # what the disk didn't take

    def load(self) -> tuple[StoreCorrupt, ...]:
        """Read all receipts; gives what was wrong with those that could not be read."""
        receipts, damaged = read_receipts(self._root)
        self._receipts = {receipt.id: receipt for receipt in receipts}
        if receipts:
            self._next = sequence_of(receipts[-1].id) + 1
        return damaged

    def open(
        self,
        source: Source,
        via: str,
        at: datetime,
        cause: Cause = Cause.PROPOSAL,
        confirm_within_s: float | None = None,
        trust: Trusted | None = None,
    ) -> Receipt:
        """Write the receipt of a change that somebody wants."""
        fresh = self._fresh(source, via, at)
        return self._begin(replace(fresh, cause=cause, confirm_within_s=confirm_within_s, trust=trust))

    def open_refused(self, source: Source, via: str, at: datetime, findings: tuple[Finding, ...]) -> Receipt:
        """Write the receipt of a candidate that was refused before it got here: one write."""
        return self._begin(self._fresh(source, via, at).with_findings(findings).advance(State.REFUSED, at))

    def keep(self, receipt: Receipt) -> None:
        """Take a receipt as it stands now, in memory only."""
        self._receipts[receipt.id] = receipt

    def record(self, receipt: Receipt) -> None:
        """Write a receipt as it stands now. In memory it stands so even when the disk fails.

        The disk is owed it then, until `catch_up` finds it willing.
        """
        self.owe(receipt)
        self._pay(receipt.id)

    def owe(self, receipt: Receipt) -> None:
        """Take a receipt as it stands now, to be written once the disk takes writes again."""
        self.keep(receipt)
        self._owed[receipt.id] = None

    @property
    def owes(self) -> bool:
        """Whether the disk lacks anything that memory has."""
        return bool(self._owed)

    def catch_up(self) -> None:
        """Write what a failing disk didn't take."""
        for id_ in tuple(self._owed):
            self._pay(id_)

    def _pay(self, id_: str) -> None:
        self._write(self._receipts[id_])
        del self._owed[id_]

    def receipt(self, id: str) -> Receipt:  # noqa: A002  it is the receipt's id
        """Give a receipt. Raises NotFound."""
        try:
            return self._receipts[id]
        except KeyError:
            raise NotFound("receipt", id) from None

    def is_refused(self, id: str) -> bool:  # noqa: A002  it is the receipt's id
        """Say whether a change was not carried out; of one that nobody knows any more it was."""
        receipt = self._receipts.get(id)
        return receipt is not None and receipt.state is State.REFUSED

    def all(self) -> tuple[Receipt, ...]:
        """Give all receipts, oldest first."""
        return tuple(self._receipts.values())

    def newest(self, limit: int) -> tuple[Receipt, ...]:
        """Give at most `limit` receipts, the newest first."""
        return tuple(reversed(tuple(self._receipts.values())))[: max(limit, 0)]

    def open_ones(self) -> tuple[Receipt, ...]:
        """Give the receipts of which more can become, oldest first."""
        return tuple(receipt for receipt in tuple(self._receipts.values()) if not receipt.is_settled)

    def has_been_live(self) -> bool:
        """Whether any candidate of this store was ever served."""
        return any(receipt.live_at is not None for receipt in tuple(self._receipts.values()))

    def newest_seen(self) -> datetime | None:
        """Give the latest time that one of the last few receipts holds."""
        return newest_seen(self.newest(WITNESSES))

    def prune(self, named: Collection[str], keep: int = MAX_RECEIPTS) -> None:
        """Remove the oldest receipts beyond `keep`, but none that is `named`."""
        spare = list(self._receipts)[: max(len(self._receipts) - keep, 0)]
        gone = [id_ for id_ in spare if id_ not in named and self._receipts[id_].is_settled]
        self._disk.remove(self._root / layout.receipt_file(id_) for id_ in gone)
        for id_ in gone:
            del self._receipts[id_]
            self._owed.pop(id_, None)

    def erase(self, before: str, but: Collection[str]) -> None:
        """Remove all receipts older than that one, open ones too, but for those named."""
        number = sequence_of(before)
        gone = [id_ for id_ in self._receipts if sequence_of(id_) < number and id_ not in but]
        self._disk.remove(self._root / layout.receipt_file(id_) for id_ in gone)
        for id_ in gone:
            del self._receipts[id_]
            self._owed.pop(id_, None)

    def _begin(self, receipt: Receipt) -> Receipt:
        self._write(receipt)  # what could not be written down did not come
        self.keep(receipt)
        return receipt

    def _write(self, receipt: Receipt) -> None:
        self._disk.write(self._root / layout.receipt_file(receipt.id), records.dump(receipt.to_json()))

    def _fresh(self, source: Source, via: str, at: datetime) -> Receipt:
        id_ = receipt_id(self._next, secrets.token_hex(4))
        self._next += 1
        return Receipt(id_, State.RECEIVED, source, via, None, None, (), {State.RECEIVED: at})


class Handled:
    """The folder `handled/`: (path, digest of the content) -> the receipt it got."""

    def __init__(self, root: Path, disk: Disk) -> None:
        """Take the store's folder; `load` comes before anything else."""
        self._root = root
        self._disk = disk
        self._seen: dict[tuple[str, str], str] = {}  # oldest receipt first

    def load(self) -> None:
        """Read what is remembered. What can't be read is forgotten: its content is then handled once more."""
        entries: list[tuple[str, str, str]] = []
        for path in (self._root / layout.HANDLED).glob("[!.]*.json"):
            try:
                data = records.load(path.read_bytes())
                entry = (
                    records.text(data, "receipt"),
                    records.text(data, "path"),
                    records.text(data, "digest"),
                )
            except (OSError, ValueError):
                continue
            entries.append(entry)
        self._seen = {(path, digest): receipt for receipt, path, digest in sorted(entries)}

    def receipt(self, path: str, digest: str) -> str | None:
        """Give the id of the receipt that this content at this path got, if it was handled."""
        return self._seen.get((path, digest))

    def remember(self, path: str, digest: str, receipt: str) -> None:
        """Remember that this content at this path got this receipt."""
        if self._seen.get((path, digest)) == receipt:
            return
        data = {"path": path, "digest": digest, "receipt": receipt}
        self._disk.write(self._root / layout.handled_file(path, digest), records.dump(data))
        self._seen.pop((path, digest), None)
        self._seen[path, digest] = receipt

    def prune(self, keep: int = MAX_HANDLED) -> None:
        """Forget the oldest beyond `keep`."""
        gone = list(self._seen)[: max(len(self._seen) - keep, 0)]
        self._forget(gone)

    def forget_all(self) -> None:
        """Forget everything, also what could not be read."""
        self._seen = {}
        self._disk.empty(self._root / layout.HANDLED)

    def _forget(self, gone: Iterable[tuple[str, str]]) -> None:
        gone = tuple(gone)
        self._disk.remove(self._root / layout.handled_file(*one) for one in gone)
        for one in gone:
            del self._seen[one]
