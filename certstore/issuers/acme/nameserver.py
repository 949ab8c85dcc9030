"""The name server that takes the proofs of dns-01, and how a device may change it: values, read and written.

Pure. Promises: the secret stands in no repr, and is read from what tools make (`tsig-keygen`, `keymgr`), so
that nobody has to take it apart. Refuses to know the wire (tlsproxy's acmedns.py).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from certstore import records
from certstore.names import is_address, normalise

__all__ = ["ALGORITHMS", "NameServer", "TsigKey"]

PORT: Final = 53
# RFC 8945 section 6; what is shorter isn't offered.
ALGORITHMS: Final = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
_LONGEST_WAIT_S: Final = 3_600
_SHORTEST_SECRET: Final = 16
# A key as BIND's tools write it: key "name" { algorithm hmac-sha256; secret "..."; };
_CLAUSE: Final = re.compile(r'key\s+"?([^\s"{;]+)"?\s*\{(.*?)\}', re.DOTALL)
# And as Knot DNS's `keymgr -t` does, in its first line: # hmac-sha256:name:secret
_LINE: Final = re.compile(r"^#?\s*(hmac-[a-z0-9]+):([^\s:]+):(\S+)\s*$", re.MULTILINE)
_FIELD: Final = re.compile(r'(algorithm|secret)\s+"?([^\s";]+)"?\s*;')


@dataclass(frozen=True, slots=True)
class TsigKey:
    """Who may change records (RFC 8945). ValueError for what is none."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"a TSIG key of {self.algorithm}: take {', '.join(ALGORITHMS)}")
        if len(self.secret) < _SHORTEST_SECRET:
            raise ValueError(f"a TSIG secret has {_SHORTEST_SECRET} bytes at least")
        if not re.fullmatch(r"[\x21-\x7e]{1,253}", self.name):
            raise ValueError("a TSIG key's name is no domain name")

    @classmethod
    def read(cls, text: str) -> TsigKey:
        """Read a file as `tsig-keygen` and `keymgr -t` write it; ValueError for anything else."""
        if (line := _LINE.search(text)) is not None:
            return cls(line[2], line[1], _bytes(line[3]))
        clause = _CLAUSE.search(text)
        fields = dict(_FIELD.findall(clause[2])) if clause is not None else {}
        if clause is None or "secret" not in fields:
            raise ValueError("no TSIG key is in it: make one by tsig-keygen NAME")
        return cls(
            clause[1], fields.get("algorithm", ALGORITHMS[0]).lower().rstrip("."), _bytes(fields["secret"])
        )


@dataclass(frozen=True, slots=True)
class NameServer:
    """The primary server of a zone that takes updates (RFC 2136). ValueError for what can't be one.

    address: an IP address or name. zone: whose records are changed; "" where the server is to be asked.
    wait_s: from a record at this server until all others have it, in seconds.
    """

    address: str
    key: TsigKey
    port: int = PORT
    zone: str = ""
    wait_s: int = 0

    def __post_init__(self) -> None:
        address = self.address if is_address(self.address) else normalise(self.address)
        object.__setattr__(self, "address", address)
        object.__setattr__(self, "zone", normalise(self.zone) if self.zone else "")
        if not 0 < self.port < 65_536:
            raise ValueError("a name server's port is a number from 1 to 65535")
        if not 0 <= self.wait_s <= _LONGEST_WAIT_S:
            raise ValueError(f"the wait for other name servers is {_LONGEST_WAIT_S} seconds at most")

    def to_json(self) -> dict[str, object]:
        """Turn this into what `from_json` reads."""
        return {
            "address": self.address,
            "port": self.port,
            "zone": self.zone,
            "wait_s": self.wait_s,
            "key_name": self.key.name,
            "algorithm": self.key.algorithm,
            "secret": base64.b64encode(self.key.secret).decode("ascii"),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> NameServer:
        """Read what `to_json` made; ValueError for anything else."""
        secret = _bytes(records.text(data, "secret"))
        key = TsigKey(records.text(data, "key_name"), records.text(data, "algorithm"), secret)
        return cls(
            address=records.text(data, "address"),
            key=key,
            port=records.number(data, "port"),
            zone=records.text(data, "zone"),
            wait_s=records.number(data, "wait_s"),
        )


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a TSIG secret is base64") from None
