"""The table of routes: path prefixes, the longest wins, and a prefix ends only where a segment ends.

Promises: `/api` takes `/api` and `/api/x`, never `/apis`; a table answers alike for ever, at the cost of
one match of one compiled pattern. Refuses to know: where an upstream is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlsproxy import paths
from tlsproxy.errors import ClientProtocolError


@dataclass(frozen=True, slots=True)
class Route:
    """Paths below `prefix` go to the upstream of that name; a slash at the prefix's end says nothing."""

    prefix: str
    upstream_name: str

    def __post_init__(self) -> None:
        path = self.prefix.encode()
        if not path.startswith(b"/") or not path.isascii() or not paths.is_plain(path) or b"?" in path:
            raise ValueError(f"a route's prefix is a plain path from the root, not {self.prefix!r}")

    @property
    def path(self) -> bytes:
        """The prefix without a slash at its end: b"" for the root."""
        return self.prefix.encode().rstrip(b"/")


class RouteTable:
    """Routes in any order; no two may have the same prefix (ValueError)."""

    __slots__ = ("_by_group", "_pattern", "_root", "routes")

    def __init__(self, routes: tuple[Route, ...]) -> None:
        longest_first = sorted(routes, key=lambda route: len(route.path), reverse=True)
        if len({route.path for route in routes}) < len(routes):
            raise ValueError("two routes have the same prefix")
        self.routes = routes
        self._root = next((route for route in routes if not route.path), None)
        self._by_group = tuple(route for route in longest_first if route.path)
        groups = b"|".join(b"(" + re.escape(route.path) + b")" for route in self._by_group)
        self._pattern = re.compile(b"(?:" + groups + rb")(?=/|\Z)") if groups else None

    def match(self, path: bytes) -> Route | None:
        """Find the route of a path without its query, as the upstream will see it; None where there is none.

        `*` (OPTIONS) goes where `/` goes. Raises ClientProtocolError (400) for a path whose route depends
        on who reads it: `//api`, `/%61pi` and `/api;x/y` are below `/api` to some programs and not to
        others, so a route would say nothing about where its requests end (tlsproxy/paths.py has the
        theory).
        """
        if self._pattern is None:
            return self._root
        route = self._lookup(path)
        if paths.is_plain(path):
            return route
        try:
            generous = self._lookup(paths.plain(path))
        except paths.DeceptivePathError as error:
            raise ClientProtocolError(400, error.code, error.words) from None
        if generous is not route:
            raise ClientProtocolError(
                400, "ambiguous_path", "the path can be read as that of another service"
            )
        return route

    def _lookup(self, path: bytes) -> Route | None:
        if self._pattern is not None and (found := self._pattern.match(path)):
            return self._by_group[(found.lastindex or 0) - 1]
        return self._root
