"""What a worker makes of its first word: guards that share what routes share, and know what is down."""

from __future__ import annotations

import msgspec
import pytest

from tlsproxy.config import BreakerConfig, HealthCheckConfig
from tlsproxy.config.reading import read
from tlsproxy.errors import UpstreamDownError, UpstreamError
from tlsproxy.listening import Doors
from tlsproxy.upstream.guard import Guards
from tlsproxy.workers.birth import Birth
from tlsproxy.workers.guarding import guards_of, rooms_of
from tlsproxy.workers.memory import Memory
from tlsproxy.workers.messages import Checked, Setup, Tripped
from tlsproxy.workers.protocol import decode_from_worker, decode_to_worker, encode

UPSTREAM = "http://127.0.0.1:3000"
CONFIG = f"""
store = "s"
[[listener]]
address = "127.0.0.1:0"
[[route]]
upstream = "{UPSTREAM}"
health_check = {{ path = "/h" }}
breaker = {{ failures = 1 }}
[[route]]
path = "/api"
upstream = "{UPSTREAM}"
health_check = {{ path = "/h" }}
[[route]]
path = "/deep"
upstream = "{UPSTREAM}"
health_check = {{ path = "/deep" }}
breaker = {{ failures = 1 }}
[[route]]
path = "/free"
upstream = "{UPSTREAM}"
max_connections = 5
"""


@pytest.fixture
def setup(tmp_path):
    config = read(CONFIG, tmp_path).config
    assert config is not None
    memory = Memory(None)
    down = Checked(UPSTREAM, "/h", retry_s=5.0, holds_s=10.0)
    born = Birth(config, Doors(()), memory, 2, checked=lambda: [down]).setup(0)
    memory.close()
    heard = decode_to_worker(encode(born))  # as a worker hears it
    assert isinstance(heard, Setup)
    return heard


def guarded(setup: Setup) -> tuple[Guards, list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    guards = guards_of(setup, lambda *what: told.append(what))
    assert guards is not None
    return guards, told


async def test_a_worker_knows_from_birth_what_is_down_and_routes_without_a_check_are_free(setup):
    guards, _ = guarded(setup)
    assert set(guards.by_route) == {"/", "/api", "/deep"}
    for path in ("/", "/api"):
        with pytest.raises(UpstreamDownError) as caught:
            guards.by_route[path].enter()
        assert 5 <= caught.value.retry_s <= 10
    assert guards.by_route["/deep"].enter() is not None
    guards.note(UPSTREAM, "/h", 0.0, 0.0)
    assert guards.by_route["/api"].enter() is None  # nobody wants to know what comes of it
    assert guards.by_route["/"].enter() is not None


async def test_an_upstream_has_one_breaker_whichever_route_has_tripped_it(setup):
    guards, told = guarded(setup)
    guards.note(UPSTREAM, "/h", 0.0, 0.0)
    visit = guards.by_route["/deep"].enter()
    assert visit is not None
    visit.failed(UpstreamError(UPSTREAM, "head"), late=False)
    assert told == [(UPSTREAM, "broken")]
    with pytest.raises(UpstreamDownError):
        guards.by_route["/"].enter()
    assert guards.by_route["/api"].enter() is None


def test_where_no_route_asks_there_are_no_guards(setup):
    assert guards_of(msgspec.structs.replace(setup, health={}, rooms={}), print) is None


def test_connections_are_shared_out_and_never_more_than_were_said(setup):
    assert setup.rooms == {UPSTREAM: 2}
    assert [room.places for room in rooms_of(setup).values()] == [2]
    guards = guards_of(msgspec.structs.replace(setup, health={}, checked=[]), print)
    assert guards is not None, "an exchange looks for room only where somebody stands"
    assert guards.by_route == {}


@pytest.mark.parametrize("message", [Checked("u", "/h", 1.5, 10.0), Checked("u", "/h")])
def test_what_a_check_says_survives_the_wire(message):
    assert decode_to_worker(encode(message)) == message


def test_what_a_breaker_says_survives_the_wire():
    assert decode_from_worker(encode(Tripped("u", "timeout"))) == Tripped("u", "timeout")


def test_what_routes_ask_for_survives_the_wire(setup):
    assert setup.health == {
        "/": (HealthCheckConfig("/h"), BreakerConfig(failures=1)),
        "/api": (HealthCheckConfig("/h"), None),
        "/deep": (HealthCheckConfig("/deep"), BreakerConfig(failures=1)),
    }
