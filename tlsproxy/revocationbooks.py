"""What is remembered of authorities' answers: `revocation.json` in the store.

Promises: after a restart what was answered before is stapled at once, and nobody is asked before it is due;
written only when something came, or is needed no more. Refuses to know who is asked, and when.

The file is the proxy's own and no part of the store's format, as expiry.json is; one that can't be read is as
if nobody had been asked. What is in it was judged when it came, so it has a sum: a staple with one wrong bit
would keep clients out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from certstore import Judgement, Status
from certstore.atomic import Disk
from tlsproxy import policy_revocation as policy

__all__ = ["NAME", "Books", "Record"]

NAME: Final = "revocation.json"
_VERSION: Final = 1
# An answer has 16 KB at the most, a third more in base64, and what stands beside it.
_MOST_BYTES: Final = policy.WATCHED * 24_576


class Record(msgspec.Struct, frozen=True):
    """Of one bundle: what was judged last; the answer to staple (b"" for none); when to ask next.

    failures: in a row, since an answer that counted; why: the last one's words. told: the code of the finding
    that was told last, "" for none.
    """

    next_at: datetime
    judgement: Judgement | None = None
    answer: bytes = b""
    failures: int = 0
    why: str = ""
    told: str = ""

    def holds(self, now: datetime) -> bool:
        """Whether there is an answer that counts now."""
        return self.judgement is not None and now < self.judgement.ends

    def is_good(self, now: datetime) -> bool:
        """Whether the authority calls it good now."""
        return self.judgement is not None and self.judgement.status is Status.GOOD and self.holds(now)

    def gives_way_to(self, judgement: Judgement, now: datetime) -> bool:
        """Whether this judgement is news: no older one, nor one that takes a revocation back unasked."""
        held = self.judgement
        if held is None or not (held.is_revoked or self.holds(now)):
            return True
        return judgement.begins >= held.begins and not (
            held.is_revoked and judgement.status is Status.UNKNOWN
        )

    @property
    def is_revoked(self) -> bool:
        """Whether it was judged to be."""
        return self.judgement is not None and self.judgement.is_revoked

    @property
    def is_final(self) -> bool:
        """Whether no other answer can come any more."""
        return self.judgement is not None and self.is_revoked and not self.judgement.may_return


class _Kept(msgspec.Struct, frozen=True):
    """sum: SHA-256 over the records as they stand there, in hex."""

    version: int
    records: msgspec.Raw
    sum: str = ""


_records = msgspec.json.Decoder(dict[str, Record])


class Books:
    """The file. Blocks on the disk."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        """Take the store's folder."""
        self._path, self._disk = folder / NAME, disk or Disk()

    def read(self) -> dict[str, Record]:
        """Give what was remembered, by the bundle's id."""
        try:
            with self._path.open("rb") as file:
                kept = msgspec.json.decode(file.read(_MOST_BYTES), type=_Kept)
            if kept.version != _VERSION or kept.sum != _sum_of(bytes(kept.records)):
                return {}
            records = _records.decode(kept.records)
        except (OSError, msgspec.MsgspecError, RecursionError):
            return {}
        return records if all(map(_is_sound, records.values())) else {}

    def write(self, records: Mapping[str, Record]) -> None:
        """Remember exactly these. Raises StoreError."""
        written = msgspec.json.encode(dict(records))
        kept = _Kept(_VERSION, msgspec.Raw(written), _sum_of(written))
        self._disk.write(self._path, msgspec.json.encode(kept))


def _sum_of(written: bytes) -> str:
    return hashlib.sha256(written).hexdigest()


def _is_sound(record: Record) -> bool:
    judgement = record.judgement
    dates = (judgement.begins, judgement.ends) if judgement is not None else ()
    return all(at.tzinfo is not None for at in (record.next_at, *dates))
