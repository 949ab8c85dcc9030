"""Discovery: asks the resolver what our addresses are called, and whether those names lead back.

Promises: bounded in time and number, all at once; whoever doesn't answer is told as silent; nothing is
changed. Asks as each program of this machine does, so what stands in /etc/hosts counts too. Refuses to know
what follows (proposals.py).
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import trio

from tlsproxy import policy_requests as policy
from tlsproxy.proposals import Proposals, Reply, judge, search_domains, worth_asking

__all__ = ["discover", "read_domains"]

_RESOLV_CONF = Path("/etc/resolv.conf")
_MOST_BYTES = 65_536
# "there is none" as an answer; the rest (EAI_AGAIN, EAI_FAIL) is no answer
_NONE = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}


async def discover(addresses: Sequence[str], host: str, domains: Sequence[str]) -> Proposals:
    """Ask about our addresses, and about this host's name in its search domains; takes seconds at most."""
    reverse: dict[str, Reply] = dict.fromkeys(addresses[: policy.ADDRESSES_ASKED])
    forward: dict[str, Reply] = {}
    with trio.move_on_after(policy.DISCOVERY_S):
        await _ask_all(reverse, _names_of)
        forward = dict.fromkeys(worth_asking(reverse, host, domains))
        await _ask_all(forward, _addresses_of)
    return judge(reverse, forward, host, domains)


def read_domains(path: Path = _RESOLV_CONF) -> tuple[str, ...]:
    """Read this machine's search domains; none where it has no such file."""
    try:
        with path.open("rb") as file:
            return search_domains(file.read(_MOST_BYTES).decode("utf-8", "replace"))
    except OSError:
        return ()


async def _ask_all(replies: dict[str, Reply], ask: Callable[[str], Awaitable[Iterable[str]]]) -> None:
    """Ask about each key at once, and put down what was answered; None stays where nothing was."""

    async def one(about: str) -> None:
        with trio.move_on_after(policy.LOOKUP_S):
            try:
                replies[about] = tuple(dict.fromkeys(await ask(about)))
            except socket.gaierror as error:
                if error.errno in _NONE:
                    replies[about] = ()

    async with trio.open_nursery() as nursery:
        for about in tuple(replies):
            nursery.start_soon(one, about)


async def _names_of(address: str) -> Iterable[str]:
    name, _ = await trio.socket.getnameinfo((address, 0), socket.NI_NAMEREQD)
    return (name,)


async def _addresses_of(name: str) -> Iterable[str]:
    found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return (str(place[0]) for *_, place in found)
