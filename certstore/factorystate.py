"""What a device has of its manufacturer, as a value: nothing, a request that waits, or its identity for life.

Promises: `to_json` is what the line's database gets (the names of its members are stable), and `from_json`
reads it back. Holds no private key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from certstore import records
from certstore.bundle import Bundle
from certstore.issuers.factory import serial_in
from certstore.slots import Slot

__all__ = ["FactoryState", "Stage"]


class Stage(StrEnum):
    """How far a device has come."""

    EMPTY = "empty"
    WAITING = "waiting"
    PROVISIONED = "provisioned"


@dataclass(frozen=True, slots=True)
class FactoryState:
    """What there is; empty or None where it isn't there yet.

    `spki` is SHA-256 of the public key, which stays over re-issues, `fingerprint` of the certificate; both in
    lower-case hex. `request` is the PKCS#10 request in PEM. `receipt` is the id of the installation's.
    """

    stage: Stage = Stage.EMPTY
    serial: str = ""
    names: tuple[str, ...] = ()
    key_type: str = ""
    spki: str = ""
    request: str = ""
    fingerprint: str = ""
    not_after: datetime | None = None
    sealed: bool = False
    receipt: str = ""

    @classmethod
    def of_bundle(cls, bundle: Bundle, slot: Slot) -> FactoryState:
        """Tell of an identity that is installed."""
        return cls(
            stage=Stage.PROVISIONED,
            serial=serial_in(bundle.leaf.subject),
            names=bundle.names,
            key_type=bundle.key_type,
            spki=bundle.spki,
            fingerprint=bundle.fingerprint,
            not_after=bundle.not_after,
            sealed=slot.sealed,
            receipt=slot.receipt,
        )

    def with_request(self, request: bytes, serial: str, names: tuple[str, ...]) -> FactoryState:
        """Tell also of a request, in PEM, and of whom it names."""
        return replace(self, request=request.decode("ascii"), serial=serial, names=names)

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads, and what programs are shown."""
        return {
            "state": str(self.stage),
            "serial": self.serial or None,
            "names": list(self.names),
            "key_type": self.key_type or None,
            "spki_sha256": self.spki or None,
            "csr": self.request or None,
            "sha256": self.fingerprint or None,
            "not_after": records.moment_text(self.not_after) if self.not_after is not None else None,
            "sealed": self.sealed,
            "receipt": self.receipt or None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> FactoryState:
        """Read what `to_json` made; ValueError for anything else."""
        words = {name: records.optional(records.text, data, name) or "" for name in _WORDS}
        return cls(
            stage=Stage(records.text(data, "state")),
            serial=words["serial"],
            names=records.texts(data, "names"),
            key_type=words["key_type"],
            spki=words["spki_sha256"],
            request=words["csr"],
            fingerprint=words["sha256"],
            not_after=records.optional(records.moment, data, "not_after"),
            sealed=records.flag(data, "sealed"),
            receipt=words["receipt"],
        )


_WORDS = ("serial", "key_type", "spki_sha256", "csr", "sha256", "receipt")
