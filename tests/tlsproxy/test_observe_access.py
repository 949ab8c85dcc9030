"""The access log: what a line says, what it never says, and how many there may be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trio.testing

from tlsproxy import policy
from tlsproxy.config.values import LogConfig
from tlsproxy.errors import ClientProtocolError, Fault
from tlsproxy.forward.site import ClientFacts, ExchangeRecord
from tlsproxy.observe.access import AccessLog, masked
from tlsproxy.observe.allowance import Allowance
from tlsproxy.observe.outlet import Manner, Outlet

AT = 1_795_000_000.5
JSON = Manner(is_console=False)


@dataclass
class Paper:
    """An access log and what it has written."""

    reader: int
    writer: int

    def log(self, manner: Manner = JSON, **config: Any) -> AccessLog:
        return AccessLog(LogConfig(**{"access": "on", **config}), Outlet(self.writer), manner, lambda: AT)

    def text(self, log: AccessLog) -> str:
        log.flush()
        os.set_blocking(self.reader, False)
        try:
            return os.read(self.reader, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def lines(self, log: AccessLog) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text(log).splitlines()]


@pytest.fixture
def paper() -> Iterator[Paper]:
    reader, writer = os.pipe()
    yield Paper(reader, writer)
    os.close(reader)
    os.close(writer)


def exchange(
    target: bytes = b"/api/things?token=sesame42", peer: str = "192.0.2.7", **more: Any
) -> ExchangeRecord:
    client = ClientFacts(peer, "https", fingerprint="ab" * 32, generation=7)
    facts: dict[str, Any] = {
        "client": client,
        "method": b"GET",
        "target": target,
        "upstream": "http://127.0.0.1:3000",
        "status": 200,
        "code": "",
        "body_bytes": 1234,
        "seconds": 0.0123456,
        "route": "/api",
    }
    return ExchangeRecord(**{**facts, **more})


async def test_a_line_says_what_was_asked_and_what_came_of_it(paper: Paper) -> None:
    log = paper.log()
    log.exchange_done(exchange(trace=b"4bf92f3577b34da6a3ce929d0e0e4736"))
    assert paper.lines(log) == [
        {
            "timestamp": "2026-11-18T11:06:40.500000Z",
            "level": "info",
            "room": "access",
            "event": "exchange",
            "method": "GET",
            "path": "/api/things",
            "status": 200,
            "bytes": 1234,
            "seconds": 0.012346,
            "route": "/api",
            "upstream": "http://127.0.0.1:3000",
            "client": "192.0.2.7",
            "bundle": "ab" * 32,
            "generation": 7,
            "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        }
    ]


async def test_a_query_is_written_only_where_that_is_wanted(paper: Paper) -> None:
    log = paper.log()
    log.exchange_done(exchange())
    assert "sesame" not in paper.text(log)
    log = paper.log(access_query=True)
    log.exchange_done(exchange())
    assert paper.lines(log)[0]["path"] == "/api/things?token=sesame42"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
    ],
)
async def test_a_masked_client_is_known_by_its_network_only(paper: Paper, address: str, network: str) -> None:
    assert masked(address) == network
    log = paper.log(mask_clients=True)
    log.exchange_done(exchange(peer=address))
    log.request_refused(ClientFacts(address, "https"), ClientProtocolError(400, "bad_head", "words"))
    assert [line["client"] for line in paper.lines(log)] == [network, network]


async def test_a_request_that_the_gate_refused_is_a_line_without_its_words(paper: Paper) -> None:
    log = paper.log()
    error = ClientProtocolError(431, "head_too_large", "words")
    log.request_refused(ClientFacts("192.0.2.7", "https"), error)
    (line,) = paper.lines(log)
    assert (line["event"], line["status"], line["code"]) == ("request_refused", 431, "head_too_large")


async def test_what_went_wrong_is_told_by_its_code(paper: Paper) -> None:
    log = paper.log()
    log.exchange_done(exchange(status=502, code="upstream_unreachable", fault=Fault.UPSTREAM))
    assert paper.lines(log)[0]["code"] == "upstream_unreachable"


async def test_a_flood_writes_no_more_than_is_allowed_and_the_rest_is_counted(paper: Paper) -> None:
    log = paper.log(access_per_s=10)
    for _ in range(1000):
        log.exchange_done(exchange())
    lines = paper.lines(log)
    written = [line for line in lines if line["event"] == "exchange"]
    (told,) = [line for line in lines if line["event"] == "exchanges_not_logged"]
    assert 10 <= len(written) <= 20
    assert told["count"] == log.left_out == 1000 - len(written)
    assert told["level"] == "warning"


async def test_a_sample_is_a_share(paper: Paper) -> None:
    log = paper.log(access="sampled", access_sample=0.1, access_per_s=1_000_000)
    for _ in range(2000):
        log.exchange_done(exchange())
    assert 100 <= len(paper.lines(log)) <= 320


async def test_a_line_stays_whole_on_a_pipe_however_long_its_target(paper: Paper) -> None:
    log = paper.log(access_query=True)
    log.exchange_done(exchange(b"/" + b'"' * policy.MAX_REQUEST_LINE_BYTES))
    # the last: a thread of another test may have written to a descriptor of this number
    line = paper.text(log).splitlines()[-1]
    assert len(line) <= 2 * policy.ACCESS_TEXT_BYTES + 1000
    assert json.loads(line)["path"].endswith("...")


async def test_people_get_a_readable_line_and_the_journal_a_priority(paper: Paper) -> None:
    log = paper.log(Manner(is_console=True, priorities=True))
    log.exchange_done(exchange())
    text = paper.text(log)
    assert text.startswith("<6>2026-11-18T11:06:40.500000Z [info    ] exchange method=GET path=/api/things ")
    assert text.endswith("\n")


async def test_what_was_noted_is_written_when_the_worker_ends(paper: Paper) -> None:
    log = paper.log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await trio.testing.wait_all_tasks_blocked()
        log.exchange_done(exchange())
        nursery.cancel_scope.cancel()
    assert len(paper.lines(log)) == 1


def test_an_allowance_fills_again_with_time_and_no_further_than_its_burst() -> None:
    one = Allowance(per_s=2.0, burst=3.0)
    assert [one.take(10.0) for _ in range(5)] == [True, True, True, False, False]
    assert one.take_denied() == 2
    assert [one.take(10.5) for _ in range(2)] == [True, False]
    assert [one.take(1000.0) for _ in range(4)] == [True, True, True, False]
    assert not one.take(900.0), "a clock that goes back gives nothing"
