"""How a route's upstream is spared: `health_check` and `breaker`, while it is down, and `max_connections`.

Pure: tables and routes go in, values and complaints come out. What they mean: docs/health.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

from msgspec import Meta

from tlsproxy.config.lines import Path
from tlsproxy.config.tables import Table
from tlsproxy.config.values import BreakerConfig, HealthCheckConfig, RouteConfig

__all__ = [
    "find_health_contradictions",
    "parse_check_path",
    "read_breaker",
    "read_health_check",
    "read_max_connections",
]

Complaint = tuple[Path, str, str]

_Most = Annotated[int, Meta(ge=1, le=1_000_000)]
_STATUS = re.compile(r"[2-5](?:[0-9]{2}|xx)")
_FAILURE = re.compile(r"5(?:[0-9]{2}|xx)")
# RFC 3986: what may stand in a path as it is, escapes included. No query: the path is shown in the status,
# and a token in it would be, too.
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,1023}")


def read_health_check(route: Table) -> HealthCheckConfig | None:
    """Read a route's table `health_check`; None where it has none, or none that is good."""
    if "health_check" not in route:
        return None
    table = route.table("health_check")
    table.require("path")
    path = table.parsed("path", parse_check_path, None)
    status = table.parsed_list("status", _status) or ("2xx",)
    rest = _numbers(table, HealthCheckConfig)
    table.finish()
    return None if path is None else HealthCheckConfig(path=path, status=status, **rest)


def read_breaker(route: Table) -> BreakerConfig | None:
    """Read a route's table `breaker`; None where it has none."""
    if "breaker" not in route:
        return None
    table = route.table("breaker")
    breaker = BreakerConfig(status=table.parsed_list("status", _failure), **_numbers(table, BreakerConfig))
    table.finish()
    return breaker


def read_max_connections(route: Table) -> int | None:
    """Read how many connections an upstream gets at the most; None where nothing is said."""
    most: int | None = route.leaf("max_connections", _Most, None)
    return most


def find_health_contradictions(routes: Mapping[Path, RouteConfig]) -> Iterator[Complaint]:
    """Find checks that can't be in time, and routes that say different things of one upstream."""
    checks: dict[tuple[str, str], HealthCheckConfig] = {}
    breakers: dict[str, BreakerConfig] = {}
    most: dict[str, int] = {}
    for place, route in routes.items():
        upstream, check, breaker = str(route.upstream), route.health_check, route.breaker
        if check is not None:
            if check.timeout_s > check.interval_s:
                why = (
                    f"a check may take {check.timeout_s:g} s, and the next begins after {check.interval_s:g}"
                )
                yield (*place, "health_check", "timeout_s"), why, "let interval_s be at least as long"
            if checks.setdefault((upstream, check.path), check) != check:
                why = f"another route checks {upstream} at {check.path} in another way"
                yield (*place, "health_check"), why, "write the same for both, or name another path"
        if (wanted := route.max_connections) is not None and most.setdefault(upstream, wanted) != wanted:
            why = f"another route gives {upstream} {most[upstream]} connections"
            yield (
                (*place, "max_connections"),
                why,
                "they are those of all routes to it: write the same for both",
            )
        if breaker is not None and breakers.setdefault(upstream, breaker) != breaker:
            why = f"another route has another breaker for {upstream}"
            yield (*place, "breaker"), why, "an upstream has one breaker: write the same for both"


def parse_check_path(text: str) -> str:
    """Read the path that a check asks for."""
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no path to ask for, as in /healthz (without a query)")
    return text


def _numbers(table: Table, kind: type[HealthCheckConfig | BreakerConfig]) -> dict[str, Any]:
    """Read those keys that are plain numbers."""
    kinds = get_type_hints(kind, include_extras=True)
    plain = [one for one in fields(kind) if one.name not in {"path", "status"}]
    return {one.name: table.leaf(one.name, kinds[one.name], one.default) for one in plain}


def _status(text: str) -> str:
    if not _STATUS.fullmatch(text):
        raise ValueError(f'{text[:20]!r} is no status, as in "200", and no class of them, as in "2xx"')
    return text


def _failure(text: str) -> str:
    if not _FAILURE.fullmatch(text):
        raise ValueError(
            f'{text[:20]!r} says nothing against an upstream: only "5xx", or one of them as in "503", can'
        )
    return text
