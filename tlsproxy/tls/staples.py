"""Staples: what authorities say of served certificates, ready for handshakes (RFC 6066 section 8).

Promises: a staple is given only for its own bundle, and not after its end; asking never fails and never
waits, since a handshake hangs on it. Replaced whole, by one assignment: any thread may ask. Refuses to know
where they come from, and what they say: only good ones come here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

__all__ = ["Staples"]


class Staples:
    """The staples of one worker."""

    __slots__ = ("_clock", "_held")

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take a clock of seconds that nobody can set, and that goes on while the device sleeps."""
        self._clock = clock
        self._held: Mapping[str, tuple[bytes, float]] = {}

    def take(self, staples: Iterable[tuple[str, bytes, float]]) -> None:
        """Have exactly these: a bundle's id, an OCSPResponse in DER, and for how many seconds it holds."""
        now = self._clock()
        self._held = {bundle: (answer, now + holds_s) for bundle, answer, holds_s in staples}

    def of(self, bundle: str) -> bytes:
        """Give the staple of a bundle; b"" for none."""
        held = self._held.get(bundle)
        return held[0] if held is not None and self._clock() < held[1] else b""
