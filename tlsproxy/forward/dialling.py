"""How an upstream is reached: its socket, and TLS on it where the upstream insists on that.

Promises: a connection that is ready for a request within `connect_s`, handshake included, or the reason why
not. Refuses to know what is said over it, and who keeps it.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from tlsproxy.errors import UpstreamTLSError
from tlsproxy.forward.site import UpstreamStream
from tlsproxy.net.dial import Address, Dialler
from tlsproxy.terms import Terms

if TYPE_CHECKING:
    from tlsproxy.tls.outward import Outward

__all__ = ["Dial", "dial_by"]

Dial = Callable[[], Awaitable[UpstreamStream]]


class SecureDialler:
    """Opens connections that are TLS from their first byte."""

    __slots__ = ("_dialler", "_outward")

    def __init__(self, dialler: Dialler, outward: Outward) -> None:
        self._dialler, self._outward = dialler, outward

    async def __call__(self) -> UpstreamStream:
        """Open one; the caller closes it. Raises TimeoutError, OSError and UpstreamTLSError."""
        limit = self._dialler.connect_s
        try:
            with trio.fail_after(limit):
                return await self._outward.shake_hands(await self._dialler.connect())
        except trio.TooSlowError as error:
            raise TimeoutError(errno.ETIMEDOUT, f"no TLS connection within {limit:g} s") from error


def dial_by(name: str, address: Address, connect_s: float, terms: Terms | None = None) -> Dial:
    """Give what opens connections to an upstream, by TLS where its address says so.

    Before a fence: a library is loaded. What makes terms useless is told by each connection
    that is wanted, since other upstreams have nothing to do with it.
    """
    dialler = Dialler(address, connect_s=connect_s)
    if address.scheme != "https":
        return dialler
    from tlsproxy.tls.engines.outward import UnusableTerms
    from tlsproxy.tls.outward import Outward

    why = terms.unready if terms is not None else "nothing says on what it is believed"
    if terms is not None and not why:
        try:
            return SecureDialler(dialler, Outward(name, terms, trio.current_time))
        except UnusableTerms as error:
            why = error.why

    async def refuse() -> UpstreamStream:
        raise UpstreamTLSError(name, "unready", why)

    return refuse
