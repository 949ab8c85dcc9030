"""Meta: what is known of a bundle without touching its key; the file meta.json that lies beside it.

Promises: `Meta.of` tells of a bundle what reading it whole would; `from_json` gives that back, or raises
ValueError, also where key and chain no longer have the sizes with which they were written. Refuses to know
whether they hold what they should (`reading.read_bundle` proves that).

Theory. With 10,000 bundles a start can't read them all: 0.25 ms each, 2.5 s, and 14 KB of memory for each
that is kept (measured). Its decisions need names and dates only, so in a large store they are taken from
here, on trust: a bundle's folder was renamed into its place as a whole, after every file in it was synced, so
what lies here was true once. What can have happened since is damage. A file that was emptied or cut off (a
file system's repair does that) shows by its size, for one stat. A flipped bit doesn't, and is found by who
reads the bundle next: a worker at its first use, or the caretaker, who reads all of them in its own time.
Until then nothing wrong is served, because whoever reads a bundle proves it: a client may only meet another
certificate than the one it asked for, and the slot falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from certstore import records
from certstore.bundle import Bundle
from certstore.generation import BundleFacts

__all__ = ["Meta"]


@dataclass(frozen=True, slots=True)
class Meta:
    """What a bundle is, as in `Bundle`: hashes in lower-case hex, and what rows are computed from."""

    id: str
    fingerprint: str
    spki: str
    key_type: str
    facts: BundleFacts

    @classmethod
    def of(cls, bundle: Bundle) -> Meta:
        """Describe a bundle."""
        return cls(bundle.id, bundle.fingerprint, bundle.spki, bundle.key_type, BundleFacts.of(bundle))

    def to_json(self, key_bytes: int, chain_bytes: int) -> dict[str, object]:
        """Turn this into what `from_json` reads; with the sizes of the files beside it."""
        facts = self.facts
        return {
            "id": self.id,
            "names": list(facts.names),
            "fingerprint": self.fingerprint,
            "spki": self.spki,
            "key_type": self.key_type,
            "not_before": records.moment_text(facts.not_before),
            "not_after": records.moment_text(facts.not_after),
            "self_signed": facts.self_signed,
            "key_bytes": key_bytes,
            "chain_bytes": chain_bytes,
        }

    @classmethod
    def shown(cls, data: Mapping[str, object]) -> Meta:
        """Read what others are shown of a bundle: all but the sizes. ValueError for anything else."""
        return cls(
            id=records.bundle_id(data, "id"),
            fingerprint=records.text(data, "fingerprint"),
            spki=records.text(data, "spki"),
            key_type=records.text(data, "key_type"),
            facts=BundleFacts(
                names=records.texts(data, "names"),
                not_before=records.moment(data, "not_before"),
                not_after=records.moment(data, "not_after"),
                self_signed=records.flag(data, "self_signed"),
            ),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, object], key_bytes: int, chain_bytes: int) -> Meta:
        """Read what `to_json` made of files with just these sizes; ValueError for anything else."""
        sizes = (records.number(data, "key_bytes"), records.number(data, "chain_bytes"))
        if sizes != (key_bytes, chain_bytes):
            raise ValueError("the files beside it have other sizes")
        return cls.shown(data)
