"""Two seams: who tries a candidate out (`Gate`), and who is told what is served from now on (`Publisher`).

certstore knows neither TLS connections nor workers. Whoever composes a product hands in a `Gate` and a
`Publisher`; used alone, the store has the two null ones, and a receipt says that the gate was skipped.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from certstore.bundle import Bundle
from certstore.findings import Finding, found
from certstore.generation import Generation

__all__ = ["Gate", "NullGate", "NullPublisher", "Publisher"]


class Gate(Protocol):
    """Tries a bundle out as clients will, before it may be served."""

    def try_out(self, bundle: Bundle) -> tuple[Finding, ...]:
        """Give what was found; one error refuses the bundle. Called in the thread that proposes."""
        ...


class Publisher(Protocol):
    """Puts generations into effect. All methods are called in the thread that proposes.

    They may read the store (`active`, `bundle`, ...) but must not change it: the change that calls them holds
    the lock, and would wait for itself.
    """

    def prepare(self, generation: Generation) -> None:
        """Make ready to serve this generation; nothing is served from it yet.

        Whatever this raises refuses the candidate (`prepare_failed`); `commit` then never comes for this
        number.
        """
        ...

    def commit(self, generation: Generation) -> None:
        """Serve the generation prepared last, at once and everywhere. Must not raise.

        The active file already names it: there is no way back. An exception passes through to the caller of
        `propose`; the next start finds the change complete.
        """
        ...

    def end(self, bundles: Collection[str], why: str) -> None:
        """End the connections that were made with these bundles (their ids). Must not raise.

        Called behind `commit`, and only where a change wants it; a renewal ends nothing. `why` is one word.
        """
        ...


class NullGate:
    """Tries nothing, and says so."""

    def try_out(self, bundle: Bundle) -> tuple[Finding, ...]:  # noqa: ARG002  the protocol's shape
        """Give the note `gate_skipped`."""
        return (found("gate_skipped"),)


class NullPublisher:
    """Serves nobody: for the store as a library, and for a command while no proxy runs."""

    def prepare(self, generation: Generation) -> None:
        """Nothing has to be made ready."""

    def commit(self, generation: Generation) -> None:
        """Nobody has to be told."""

    def end(self, bundles: Collection[str], why: str) -> None:
        """Nobody is connected."""
