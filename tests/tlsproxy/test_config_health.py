"""Configuration of checks and breakers: off unless a route asks, and one upstream is seen in one way."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from tlsproxy.config import BreakerConfig, HealthCheckConfig
from tlsproxy.config.health import parse_check_path
from tlsproxy.config.reading import Reading, read

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
GOOD = """
store = "s"
[[listener]]
address = "127.0.0.1:8443"
[[route]]
upstream = "http://127.0.0.1:3000"
{route}
[[route]]
path = "/api"
upstream = "http://127.0.0.1:3000"
{other}
"""


def reading(route: str = "", other: str = "") -> Reading:
    return read(GOOD.format(route=route, other=other), Path("/etc/x"))


def mistakes_of(route: str = "", other: str = "") -> list[str]:
    return [str(mistake) for mistake in reading(route, other).mistakes]


def test_nothing_is_checked_unless_a_route_asks_for_it():
    config = reading().config
    assert config is not None
    assert [(one.health_check, one.breaker) for one in config.routes] == [(None, None), (None, None)]


def test_a_path_is_all_that_a_check_needs_and_a_breaker_needs_nothing():
    config = reading('health_check = { path = "/healthz" }\nbreaker = {}').config
    assert config is not None
    assert config.routes[0].health_check == HealthCheckConfig("/healthz", 5.0, 2.0, 2, 3, ("2xx",))
    assert config.routes[0].breaker == BreakerConfig(5, 10.0, 5.0, ())


def test_each_number_can_be_said_also_in_a_table_of_its_own():
    config = reading(
        '[route.health_check]\npath = "/h/x"\ninterval_s = 1\ntimeout_s = 0.5\nrise = 1\nfall = 9\n'
        'status = ["200", "3xx"]\n[route.breaker]\nfailures = 1\nwithin_s = 2\ndown_s = 3\nstatus = ["503"]'
    ).config
    assert config is not None
    assert config.routes[0].health_check == HealthCheckConfig("/h/x", 1, 0.5, 1, 9, ("200", "3xx"))
    assert config.routes[0].breaker == BreakerConfig(1, 2, 3, ("503",))


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("health_check = {}", "line 7: route[0].health_check.path: is missing"),
        (
            'health_check = { path = "/h", intervall_s = 1 }',
            "line 7: route[0].health_check.intervall_s: unknown key",
        ),
        (
            'health_check = { path = "/h", interval_s = 0.01 }',
            "line 7: route[0].health_check.interval_s: 0.01 must be at least 0.1",
        ),
        (
            'health_check = { path = "/h", fall = 0 }',
            "line 7: route[0].health_check.fall: 0 must be at least 1",
        ),
        (
            'health_check = { path = "h" }',
            "line 7: route[0].health_check.path: 'h' is no path to ask for, as in /healthz (without",
        ),
        (
            'health_check = { path = "/h", status = ["ok"] }',
            "line 7: route[0].health_check.status: 'ok' is no status, as in",
        ),
        (
            'health_check = { path = "/h", interval_s = 1 }',
            "line 7: route[0].health_check.timeout_s: a check may take 2 s, and the next begins after 1",
        ),
        (
            'breaker = { status = ["404"] }',
            "line 7: route[0].breaker.status: '404' says nothing against an upstream: only ",
        ),
        ("breaker = { failures = 0 }", "line 7: route[0].breaker.failures: 0 must be at least 1"),
        ("[route.breaker]\ndown_s = 0", "line 8: route[0].breaker.down_s: 0 must be more than 0"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, mistake):
    (found,) = mistakes_of(text)
    assert found.startswith(mistake)


def test_an_upstream_gets_as_many_connections_as_is_said_by_whichever_route():
    config = reading("max_connections = 8").config
    assert config is not None
    assert [one.max_connections for one in config.routes] == [8, None]
    assert mistakes_of("max_connections = 0") == ["line 7: route[0].max_connections: 0 must be at least 1"]
    assert mistakes_of("max_connections = 8", "max_connections = 9") == [
        "line 11: route[1].max_connections: another route gives http://127.0.0.1:3000 8 connections"
    ]


def test_two_routes_may_not_say_different_things_of_one_upstream():
    check = 'health_check = {{ path = "/h", fall = {} }}'
    assert mistakes_of(check.format(2), check.format(3)) == [
        "line 11: route[1].health_check: another route checks http://127.0.0.1:3000 at /h in another way"
    ]
    assert mistakes_of(check.format(2), check.format(2)) == []
    assert mistakes_of('health_check = { path = "/a" }', 'health_check = { path = "/b" }') == []
    assert mistakes_of("breaker = { down_s = 1 }", "breaker = { down_s = 2 }") == [
        "line 11: route[1].breaker: another route has another breaker for http://127.0.0.1:3000"
    ]
    assert mistakes_of("breaker = { down_s = 1 }", "") == []


@pytest.mark.parametrize(
    "text", ["", "h", "/ h", "/h\r\nX: y", "/h#x", "/h?token=x", "/\u00e4", "/" + "h" * 2000, "http://x/h"]
)
def test_a_path_cannot_become_another_request(text):
    with pytest.raises(ValueError, match="no path to ask for"):
        parse_check_path(text)


def test_every_key_is_documented():
    text = DOCS.read_text("utf-8")
    for table, kind in (("health_check", HealthCheckConfig), ("breaker", BreakerConfig)):
        for one in fields(kind):
            assert f"| `route[].{table}.{one.name}` |" in text
