"""The selector: which of a generation's entries serves a client, in at most two dict lookups.

Promises: a `Table` never changes after it is built, so that whoever holds one sees one generation whole; its
answer agrees with `certstore.names.covers` (held by a law). A strict one has no answer for strangers, instead
of the default. Generic in what an entry is: a context, or a
word in a test. Refuses to know precedence between sources: `certstore.generation.compute` has decided it,
row by row.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from certstore import Generation
    from tlsproxy.tls.asking import Asks

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Table(Generic[T_co]):
    """One generation, ready for choosing. Made by `build_table`; read from any thread."""

    __slots__ = ("_addresses", "_besides", "_exact", "_strangers", "_wildcards", "asks", "default", "number")

    def __init__(
        self,
        number: int,
        hosts: Mapping[str, T_co],
        addresses: Mapping[str, T_co],
        default: T_co | None,
        *,
        strict: bool = False,
        besides: Mapping[int, T_co] | None = None,
    ) -> None:
        self.number = number
        self.default = default
        self.asks: Asks[T_co] | None = None
        """Who asks for a certificate in an entry's place, for some names; None where nobody does."""
        self._strangers = None if strict else default
        self._besides = dict(besides or {})  # by the identity of the entry that it stands beside
        self._addresses = dict(addresses)
        self._exact = {name: entry for name, entry in hosts.items() if not name.startswith("*.")}
        # by what stands behind the first dot
        self._wildcards = {name[2:]: entry for name, entry in hosts.items() if name.startswith("*.")}

    @property
    def has_addresses(self) -> bool:
        """Whether a client without a server name may be told apart by the address that it reached."""
        return bool(self._addresses)

    @property
    def is_strict(self) -> bool:
        """Whether strangers are refused."""
        return self._strangers is not self.default

    def choose(self, server_name: str | None, local_address: str | None) -> T_co | None:
        """Return the entry for a hello; None for a stranger to a strict table, or where there is no default.

        server_name: as `ClientHello.server_name`. local_address: in canonical text, what the client
        connected to; looked at only where there is no server name. Exact name, then wildcard (one label, RFC
        9525 section 6.3), then address, then the default row (not in a strict table).
        """
        if server_name is not None:
            chosen = self._exact.get(server_name)
            if chosen is None:
                chosen = self._wildcards.get(server_name.partition(".")[2])
        elif local_address is not None:
            chosen = self._addresses.get(local_address)
        else:
            chosen = None
        return self._strangers if chosen is None else chosen

    def beside(self, entry: object) -> T_co | None:
        """Return the entry that stands beside another, for clients that can't use that one's key."""
        return self._besides.get(id(entry))

    def has_row(self, server_name: str | None) -> bool:
        """Say whether a name has a row of its own: its certificate covers it."""
        return server_name is not None and (
            server_name in self._exact or server_name.partition(".")[2] in self._wildcards
        )

    def entries(self) -> tuple[T_co, ...]:
        """Return each different entry once, the default first."""
        every = [self._exact, self._wildcards, self._addresses]
        besides = {id(entry): entry for entry in self._besides.values()}
        found = {id(entry): entry for table in every for entry in table.values()} | besides
        if self.default is not None:
            found = {id(self.default): self.default} | found
        return tuple(found.values())


def build_table(generation: Generation, entry_of: Callable[[str], T], *, strict: bool = False) -> Table[T]:
    """Build a generation's table; `entry_of` turns a bundle's id into an entry, and may raise at will."""
    besides: dict[int, T] = {}

    def entry(bundle: str, beside: str | None) -> T:
        chosen = entry_of(bundle)
        if beside is not None:
            besides[id(chosen)] = entry_of(beside)
        return chosen

    default = None if generation.default is None else entry(generation.default, generation.default_beside)
    hosts: dict[str, T] = {}
    addresses: dict[str, T] = {}
    for row in generation.rows:
        rows = addresses if _is_address(row.pattern) else hosts
        rows[row.pattern] = entry(row.bundle, row.beside)
    return Table(generation.number, hosts, addresses, default, strict=strict, besides=besides)


def _is_address(pattern: str) -> bool:
    try:
        ipaddress.ip_address(pattern)
    except ValueError:
        return False
    return True
