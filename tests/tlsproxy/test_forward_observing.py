"""forward/: what is told of exchanges to whoever observes, and the trace context of a request."""

from __future__ import annotations

import trio

from tests.forwarding import GET, OK, Peer, always_ok, forwarding
from tlsproxy.errors import Fault

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


async def heads(peer: Peer, seen: list[bytes]) -> None:
    while True:
        seen.append(await peer.head())
        await peer.send(OK)


async def test_a_record_names_the_route_that_took_the_request():
    async with forwarding({"/": always_ok, "/api": always_ok}) as rig:
        client = await rig.connect()
        for path in (b"/x", b"/api/x"):
            await client.ask(GET.replace(b"GET /", b"GET " + path))
    assert [record.route for record in rig.records] == ["/", "/api"]
    assert [record.fault for record in rig.records] == [None, None]


async def test_a_record_says_whose_fault_it_was():
    async def broken(peer: Peer) -> None:
        await peer.head()

    async with forwarding({"/api": broken}) as rig:
        client = await rig.connect()
        await client.ask(GET.replace(b"GET /", b"GET /api"))
        await client.ask()
    assert [(record.code, record.route, record.fault) for record in rig.records] == [
        ("upstream_failed", "/api", Fault.UPSTREAM),
        ("no_route", "", Fault.CLIENT),
    ]


async def test_a_record_counts_the_body_of_an_answer_that_is_ours():
    async with forwarding({"/api": always_ok}) as rig:
        client = await rig.connect()
        body = (await client.ask()).body
    [record] = rig.records
    assert (record.code, record.body_bytes) == ("no_route", len(body))
    assert body


async def test_a_head_that_is_refused_and_what_a_connection_carried_are_told():
    async with forwarding() as rig:
        client = await rig.connect()
        await client.ask()
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert b"400 Bad Request" in await client.everything()
        client.close()
        with trio.fail_after(20):
            while not rig.carried:
                await trio.lowlevel.checkpoint()
    assert rig.refused == [400]
    [(received, sent)] = rig.carried
    sizes = len(GET) + len(b"GET / HTTP/1.1\r\n\r\n")
    assert received in {sizes, sizes + 1}  # Linux counts the client's end as a byte
    assert sent > 2 * len(OK)


async def test_a_trace_context_goes_on_unread_where_nobody_asked_for_traces():
    seen: list[bytes] = []
    async with forwarding(lambda peer: heads(peer, seen)) as rig:
        client = await rig.connect()
        await client.ask()
        await client.ask(GET.replace(b"\r\n\r\n", b"\r\ntraceparent: nonsense\r\n\r\n"))
    assert b"traceparent" not in seen[0]
    assert b"traceparent: nonsense\r\n" in seen[1]
    assert [record.trace for record in rig.records] == [b"", b""]


async def test_with_traces_each_request_has_one_valid_context_and_its_record_the_id():
    seen: list[bytes] = []
    async with forwarding(lambda peer: heads(peer, seen), trace=True) as rig:
        client = await rig.connect()
        await client.ask()
        for parent in (PARENT, b"nonsense"):
            await client.ask(GET.replace(b"\r\n\r\n", b"\r\nTraceParent: %b\r\n\r\n" % parent))
    told = [record.trace for record in rig.records]
    assert told[1] == PARENT[3:35]
    assert b"TraceParent: %b\r\n" % PARENT in seen[1]
    for head, trace in ((seen[0], told[0]), (seen[2], told[2])):
        assert head.lower().count(b"traceparent") == 1
        assert b"traceparent: 00-%b-" % trace in head
    assert len(set(told)) == 3
