"""forward/: one request, one response, over real sockets; the plain path and what goes wrong on it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
import trio

from tests.forwarding import GET, OK, Peer, TruncatedError, always_ok, forwarding
from tlsproxy import policy
from tlsproxy.errors import UpstreamError
from tlsproxy.forward.site import Forwarded
from tlsproxy.net.stream import BROKEN


async def test_a_request_reaches_its_upstream_and_the_response_its_client():
    seen = []

    async def upstream(peer: Peer) -> None:
        seen.append(await peer.head())
        await peer.send(b"HTTP/1.1 203 Fine\r\nContent-Length: 5\r\nX-Own: yes\r\n\r\nhello")

    async with forwarding(upstream) as rig:
        answer = await (await rig.connect()).ask()
    assert (answer.status, answer.body, answer.headers["x-own"]) == (203, b"hello", "yes")
    assert seen[0].startswith(b"GET / HTTP/1.1\r\nHost: device.test\r\n")
    assert b"X-Forwarded-For: 192.0.2.7\r\n" in seen[0]
    assert b"X-Forwarded-Proto: https\r\n" in seen[0]
    [record] = rig.records
    assert (record.status, record.code, record.body_bytes, record.upstream) == (203, "", 5, "/")


async def test_many_requests_in_sequence_use_one_upstream_connection():
    async with forwarding() as rig:
        client = await rig.connect()
        for _ in range(200):
            assert (await client.ask()).body == b"ok"
        assert len(rig.accepted) == 1
        assert rig.site.upstreams["/"].pool.counts.lent == 199


async def test_pipelined_requests_are_answered_in_their_order():
    async def upstream(peer: Peer) -> None:
        while True:
            target = (await peer.head()).split(b" ")[1]
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target))

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        requests = [b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(50)]
        await client.send(b"".join(requests))
        assert [(await client.answer()).body for _ in requests] == [b"/%d" % n for n in range(50)]


async def test_a_pipelined_request_behind_a_body_is_not_taken_for_part_of_it():
    bodies = []

    async def upstream(peer: Peer) -> None:
        while True:
            head = await peer.head()
            bodies.append(await peer.exactly(5) if b"POST" in head else b"")
            await peer.send(OK)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfirst" + GET)
        await client.answer()
        await client.answer()
    assert bodies == [b"first", b""]


async def test_routes_lead_to_their_upstreams_and_nothing_to_404_with_the_connection_kept():
    def says(word: bytes):
        async def upstream(peer: Peer) -> None:
            await peer.head()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + word)

        return upstream

    async with forwarding({"/api": says(b"api"), "/ui": says(b"gui")}) as rig:
        client = await rig.connect()
        assert (await client.ask(b"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"api"
        assert (await client.ask(GET)).status == 404
        assert (await client.ask(b"GET /ui HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"gui"
    assert [record.code for record in rig.records] == ["", "no_route", ""]


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 77\r\n\r\n'),
    ],
)
async def test_responses_that_have_no_body_end_with_their_head(method, head):
    async def upstream(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(head)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        for _ in range(3):
            answer = await client.ask(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n", method)
            assert answer.status == int(head.split()[1])
            assert answer.body == b""
        assert len(rig.accepted) == 1


async def test_an_http10_client_gets_a_chunked_response_until_the_close():
    async def upstream(peer: Peer) -> None:
        assert b"HTTP/1.1\r\n" in await peer.head()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = (await client.everything()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"hunked" not in head
    assert b"Connection: close" in head
    assert body == b"hello world"


async def test_an_http10_client_that_asks_may_keep_its_connection():
    async with forwarding() as rig:
        client = await rig.connect()
        for _ in range(2):
            answer = await client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert answer.headers["connection"] == "keep-alive"
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.everything()).endswith(b"ok")


async def test_a_response_that_ends_with_its_connection_becomes_chunks():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the ")
        await peer.send(b"end")

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        for _ in range(2):
            answer = await client.ask()
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.body == b"until the end"
        assert len(rig.accepted) == 2


async def test_trailers_and_interim_responses_pass():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await peer.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
        )

    async with forwarding(upstream) as rig:
        answer = await (await rig.connect()).ask()
    assert (answer.interim, answer.body, answer.trailers) == ([103], b"ok", {"x-sum": "7"})


async def test_a_client_that_asks_for_the_end_gets_it():
    async with forwarding() as rig:
        client = await rig.connect()
        answer = await client.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.headers["connection"] == "close"
        assert await client.everything() == b""


async def test_a_bad_request_is_answered_and_its_client_is_let_go():
    async with forwarding() as rig:
        client = await rig.connect()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + GET
        )
        assert (await client.answer()).status == 400
        assert await client.everything() == b""
        assert rig.accepted == []


async def test_no_upstream_is_502_and_the_connection_lives_on():
    async with forwarding() as rig:
        client = await rig.connect()
        rig.site.upstreams["/"]._dial = refuse
        answer = await client.ask(b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
        assert answer.status == 502
        assert answer.headers["content-type"].startswith("text/html")
        assert b"may be starting, or not running" in answer.body
        assert (await client.ask()).headers["content-type"] == "application/problem+json"
    assert {record.code for record in rig.records} == {"upstream_unreachable"}


async def refuse():
    raise ConnectionRefusedError


async def test_an_upstream_that_can_t_be_reached_in_time_is_504():
    async def never():
        raise TimeoutError

    async with forwarding() as rig:
        rig.site.upstreams["/"]._dial = never
        assert (await (await rig.connect()).ask()).status == 504
        with pytest.raises(UpstreamError):
            await rig.site.upstreams["/"].open()


async def test_a_unix_upstream_works_like_any_other(tmp_path):
    async with forwarding(unix=tmp_path / "app.sock") as rig:
        client = await rig.connect()
        assert [(await client.ask()).body for _ in range(3)] == [b"ok"] * 3
        assert len(rig.accepted) == 1


async def test_a_connection_that_the_upstream_closed_while_idle_is_not_used():
    async def once(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)

    async with forwarding(once) as rig:
        client = await rig.connect()
        for _ in range(5):
            assert (await client.ask()).status == 200
            await rig.settle()
        assert len(rig.accepted) == 5


async def test_bytes_that_nobody_asked_for_never_answer_the_next_request():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        await peer.head()

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        for _ in range(3):
            assert (await client.ask()).body == b"ok"
        assert len(rig.accepted) == 3


async def closing_at_the_second(peer: Peer) -> None:
    await peer.head()
    await peer.send(OK)
    await peer.head()  # the request is read, and the connection ends without an answer


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE"])
async def test_a_stale_pooled_connection_is_retried_once(method):
    request = method + b" / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    async with forwarding(closing_at_the_second) as rig:
        client = await rig.connect()
        assert [(await client.ask(request)).status for _ in range(4)] == [200] * 4
        assert len(rig.accepted) == 4


async def test_a_request_that_must_not_be_repeated_is_not():
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    seen = []

    async def upstream(peer: Peer) -> None:
        await peer.head()
        seen.append(await peer.exactly(2))
        await peer.send(OK)
        await peer.head()
        seen.append(await peer.exactly(2))

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        assert [(await client.ask(request)).status for _ in range(2)] == [200, 502]
    assert seen == [b"hi", b"hi"]


async def test_a_request_that_must_not_be_repeated_takes_no_connection_that_idled():
    async with forwarding() as rig:
        client = await rig.connect()
        await client.ask()
        rig.site.sweeper.now += 2
        await client.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert len(rig.accepted) == 2
        await client.ask()
        assert len(rig.accepted) == 2


async def test_idle_connections_are_closed_by_the_sweeper():
    async with forwarding() as rig:
        await (await rig.connect()).ask()
        pool = rig.site.upstreams["/"].pool
        assert len(pool) == 1
        await rig.sweep_later(pool.idle_s + 2)
        assert len(pool) == 0
        await trio.testing.wait_all_tasks_blocked()
        assert rig.accepted[0].stream.sock.fileno() < 0, "the upstream saw no end"


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Large: %b\r\nContent-Length: 0\r\n\r\n" % (b"a" * 40_000),
    ],
    ids=["nothing", "ssh", "two-lengths", "large-head-in-one-piece"],
)
async def test_an_upstream_without_a_proper_answer_is_502(response):
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(response)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        assert (await client.ask()).status == 502
        assert (await client.ask()).status == 502


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
    ],
)
async def test_an_upstream_that_dies_in_a_body_leaves_a_client_that_can_tell(start):
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(start)

    async with forwarding(upstream) as rig:
        client = await rig.connect()
        with pytest.raises((TruncatedError, trio.BrokenResourceError)):
            await client.ask()
    assert rig.records[0].code != ""


async def test_a_response_until_close_that_is_reset_never_looks_whole():
    async def upstream(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        await go.wait()
        peer.stream.abort()

    go = trio.Event()
    async with forwarding(upstream) as rig:
        client = await rig.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await client.until(b"part")
        go.set()
        with pytest.raises(BROKEN):
            await client.everything()


async def test_what_a_client_says_about_itself_counts_only_where_it_is_trusted():
    seen = []

    async def upstream(peer: Peer) -> None:
        while True:
            seen.append(await peer.head())
            await peer.send(OK)

    request = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"
    for trust in ((), (ip_network("192.0.2.0/24"),)):
        async with forwarding(upstream, forwarded=Forwarded(trust=trust)) as rig:
            await (await rig.connect()).ask(request)
    assert b"198.51.100.1" not in seen[0]
    assert b"X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n" in seen[1]
    assert Forwarded(trust=(ip_network("10.0.0.0/8"),)).trusts("::ffff:10.1.2.3")


async def test_draining_ends_an_idle_client_at_once_and_a_busy_one_with_its_response():
    go = trio.Event()

    async def upstream(peer: Peer) -> None:
        while True:
            if b"/slow" in await peer.head():
                await go.wait()
            await peer.send(OK)

    async with forwarding(upstream) as rig:
        idle, busy, fresh = await rig.connect(), await rig.connect(), await rig.connect()
        await idle.ask()
        await busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await rig.settle()
        for connection in rig.connections:
            connection.drain()
        assert await idle.everything() == b""
        assert await fresh.everything() == b""
        go.set()
        answer = await busy.answer()
        assert answer.headers["connection"] == "close"
        assert await busy.everything() == b""


async def test_a_request_that_has_come_when_draining_begins_is_answered():
    async with forwarding() as rig:
        client = await rig.connect()
        await client.ask()
        await rig.settle()
        client.stream.sock.send(GET)  # no turn of the loop: nobody has read it yet
        rig.connections[0].drain()
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.everything() == b""


async def test_a_retired_client_is_answered_once_more_however_late_it_asks_and_told_that_it_was_the_last():
    async with forwarding() as rig:
        client, fresh = await rig.connect(), await rig.connect()
        await client.ask()
        await rig.settle()
        for connection in rig.connections:
            connection.retire()
        await rig.sweep_later(policy.IDLE_S - 2 * policy.SWEEP_S)
        for peer in (client, fresh):
            assert (await peer.ask()).headers["connection"] == "close"
            assert await peer.everything() == b""


async def test_a_retired_client_that_asks_nothing_is_closed_at_its_usual_time():
    async with forwarding() as rig:
        client = await rig.connect()
        await client.ask()
        await rig.settle()
        rig.connections[0].retire()
        await rig.sweep_later(policy.IDLE_S + 3 * policy.SWEEP_S)
        assert await client.everything() == b""


async def test_nothing_is_left_open_behind_a_client():
    async with forwarding(always_ok) as rig:
        client = await rig.connect()
        await client.ask()
        client.close()
        await rig.settle()
        assert len(rig.site.sweeper) == 1, "only the upstream is still looked after"
