"""Terms: on what an upstream that speaks TLS is believed, and what it is shown. Pure values.

Promises: complete, with the files' contents instead of their names, so that whoever has the terms needs no
file; no key is in a repr. Refuses to know where files lie, and how TLS is spoken.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

__all__ = ["NO_TERMS", "Terms"]


class Terms(msgspec.Struct, frozen=True):
    """The terms of one upstream.

    server_name: the name or address that is asked for, and that the certificate must have. by: what proves
    the upstream: a chain to one of `roots` (PEM), with the name and its dates; a pin alone; or nothing.
    pins: SHA-256 of SubjectPublicKeyInfo in hex, one of which the certificate's must be, where there are any.
    certificate, key: PEM, what it is shown where it asks; unready: why nothing can be said to it, "" for
    ready.
    """

    server_name: str
    by: Literal["chain", "pin", "nothing"] = "chain"
    roots: str = ""
    pins: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    unready: str = ""

    def __repr__(self) -> str:
        return f"<Terms {self.server_name} by {self.by}>"


NO_TERMS: Final[Mapping[str, Terms]] = MappingProxyType({})
