"""The doors: which listening sockets each configured listener has, wherever they come from.

Promises: a socket that was handed over by the supervisor before us, or passed by systemd, is used and not
opened again, so nothing that waits in its queue is lost; what is missing is opened. At a start that is all or
nothing; in a reload there is no way back any more, so whoever has taken an address since the pre-flight costs
us that listener only, and then what the reload would have closed stays open; where none is left that speaks
TLS, what spoke it speaks it still. Refuses to know who accepts (workers/), and how sockets are opened
(net/).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal, Self

from certstore import Finding, found
from tlsproxy.config import ListenerConfig
from tlsproxy.config.addresses import parse_listen
from tlsproxy.errors import ListenError
from tlsproxy.net.inherited import matching
from tlsproxy.net.listeners import Group, addresses_of, open_listeners, widen
from tlsproxy.observe.log import logger
from tlsproxy.observe.status import ListenerStatus

__all__ = ["Door", "Doors", "Found"]

_log = logger("listening")


@dataclass(frozen=True, slots=True)
class Found:
    """What the supervisor before us had for a listener with this address and kind."""

    address: str
    kind: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Door:
    """One configured listener with its groups of sockets, one group an address; the port really bound."""

    config: ListenerConfig
    groups: tuple[Group, ...]

    @property
    def port(self) -> int:
        """The TCP port, the same for all addresses."""
        port: int = self.groups[0][0].getsockname()[1]
        return port

    @property
    def status(self) -> ListenerStatus:
        """Say it to people."""
        return ListenerStatus(self.config.address, self.config.kind, self.port)


@dataclass(slots=True)
class Doors:
    """All of them, open; `close` closes them. `left`: sockets handed over that no listener has any more.

    lost: listeners that couldn't be opened in a reload.
    """

    doors: tuple[Door, ...]
    left: list[socket.socket] = field(default_factory=list)
    lost: tuple[Finding, ...] = ()

    @classmethod
    def open(
        cls,
        listeners: Iterable[ListenerConfig],
        size: int,
        *,
        handed_over: Sequence[Found] = (),
        inherited: Sequence[socket.socket] = (),
    ) -> Self:
        """Open what isn't there yet, with `size` sockets an address.

        Raises ListenError, where nothing was handed over; what was opened here is closed then.
        """
        doors, unused, old, lost = list[Door](), list(inherited), list(handed_over), list[Finding]()
        with ExitStack() as opened:
            for config in listeners:
                groups = _of_before(config, old) or _of_systemd(config, unused)
                fresh = groups is None
                try:
                    groups = groups or open_listeners(config.host, config.port, size)
                except ListenError as error:
                    if not handed_over:
                        raise
                    lost.append(found("listener_lost", address=error.address, why=error.why))
                    continue
                whole = tuple(_widened(group, size) for group in groups)
                for before, after in zip(groups, whole, strict=True):
                    for sock in after if fresh else after[len(before) :]:
                        opened.enter_context(sock)
                doors.append(Door(config, whole))
            _refuse_strays(unused)
            opened.pop_all()
        if lost:  # clients that were to move to it are still let in where they were
            if all(door.config.kind != "tls" for door in doors):
                doors = [_as_before(door, handed_over) for door in doors]
            doors += [_door_of(before) for before in old]
            old.clear()
        left = [sock for before in old for group in before.groups for sock in group]
        return cls(tuple(doors), left, tuple(lost))

    @property
    def https_port(self) -> int:
        """Where plain HTTP is sent: the port of the first TLS listener; there is one (config's promise)."""
        return next(door.port for door in self.doors if door.config.kind == "tls")

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Give all of them, those that no listener has any more too."""
        return (*(s for door in self.doors for group in door.groups for s in group), *self.left)

    @property
    def statuses(self) -> tuple[ListenerStatus, ...]:
        """Say it to people."""
        return tuple(door.status for door in self.doors)

    def close_left(self) -> None:
        """Close what no listener has any more, once nobody accepts there."""
        for sock in self.left:
            sock.close()
        self.left.clear()

    def close(self) -> None:
        """Close all."""
        for sock in self.sockets:
            sock.close()
        self.left.clear()


def _door_of(before: Found) -> Door:
    host, port = parse_listen(before.address)
    kind: Literal["tls", "http"] = "http" if before.kind == "http" else "tls"
    return Door(ListenerConfig(before.address, host, port, kind), before.groups)


def _as_before(door: Door, handed_over: Sequence[Found]) -> Door:
    """Give a door that has spoken TLS as it was, with the sockets that it has by now."""
    for before in handed_over:
        if before.kind == "tls" and before.groups[0][0] is door.groups[0][0]:
            return _door_of(Found(before.address, before.kind, door.groups))
    return door


def _widened(group: Group, size: int) -> Group:
    """Give a group with `size` sockets; as it is where they can't be had (a low port, privileges gone).

    Workers share what there is then: no reason not to start, least of all in the midst of a reload.
    """
    try:
        return widen(group, size)
    except ListenError as error:
        _log.warning("sockets_shared", sockets=len(group), workers=size, why=str(error))
        return group


def _of_before(config: ListenerConfig, old: list[Found]) -> Sequence[Group] | None:
    """Take what there was at this address out of `old`, of the same kind rather than of another."""
    there = [found for found in old if found.address == config.address]
    if not there:
        return None
    taken = next((found for found in there if found.kind == config.kind), there[0])
    old.remove(taken)
    return taken.groups


def _of_systemd(config: ListenerConfig, unused: list[socket.socket]) -> Sequence[Group] | None:
    """Take what systemd has for this listener out of `unused`; None unless it has each of its addresses."""
    if not unused:
        return None
    found = [matching(address, unused) for address in addresses_of(config.host, config.port)]
    if not all(found):
        return None
    for group in found:
        for sock in group:
            unused.remove(sock)
    return found


def _refuse_strays(unused: Sequence[socket.socket]) -> None:
    if unused:
        host, port = unused[0].getsockname()[:2]
        raise ListenError(
            f"{host} port {port}",
            "systemd has opened it, and no listener is configured there",
            "clients would wait there for ever: add a [[listener]], or remove it from the socket unit",
        )
