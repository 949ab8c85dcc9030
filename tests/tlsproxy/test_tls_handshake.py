"""Handshakes on real sockets: which table serves them, what is refused and how, and what is never lost."""

from __future__ import annotations

import select
import socket
import ssl
import struct

import pytest
import trio
import trio.testing

from tests.tlsproxy.tls_pair import client_context
from tests.tlsproxy.tls_wire import Wire, connected, sockets, table_of
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.readiness import notify_closing
from tlsproxy.tls.engines import Context, make_context
from tlsproxy.tls.handshake import PlainHTTP, accept_tls
from tlsproxy.tls.selector import Table

VERSIONS = ("TLSv1_2", "TLSv1_3")


@pytest.fixture(params=["system", "bundled"])
def contexts(request, pki) -> tuple[Context, Context]:
    one, other = (make_context(pki.leaf().bundle(), TLSPolicy(), request.param) for _ in range(2))
    return one, other


async def fails(server: socket.socket, tables) -> str:
    with trio.fail_after(10), pytest.raises(HandshakeError) as caught:
        await accept_tls(server, tables)
    assert server.fileno() < 0, "the socket is closed"
    return caught.value.reason


async def alert_of(client: trio.SocketStream) -> bytes:
    with trio.fail_after(10):
        data = await client.receive_some(100)
        assert await client.receive_some(1) == b""
    return data


# --- whose certificate


async def test_each_name_gets_its_own_row_and_a_stranger_the_default(contexts):
    one, other = contexts
    for name, bundle_id in (("other.test", other.bundle_id), ("stranger.test", one.bundle_id)):
        client, server = await sockets()
        wire = Wire(client, server_name=name)
        with trio.fail_after(10):
            async with client, trio.open_nursery() as nursery:
                nursery.start_soon(wire.shake_hands)
                stream = await accept_tls(server, table_of(one, other=other))
        assert stream.bundle_id == bundle_id
        stream.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_a_client_without_a_name_is_served_by_the_address_that_it_reached(contexts, family):
    one, other = contexts
    table = Table(1, {}, {"127.0.0.1": other, "::1": other}, one)
    client, server = await sockets(family)
    wire = Wire(client, server_name="127.0.0.1")  # an address is no server name: none is sent
    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(wire.shake_hands)
            stream = await accept_tls(server, lambda: table)
    assert stream.bundle_id == other.bundle_id
    stream.close()


async def test_on_a_dual_stack_socket_an_ipv4_address_is_known_as_such(contexts):
    one, other = contexts
    table = Table(1, {}, {"127.0.0.1": other}, one)
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen(1)
        client = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        server, _ = listener.accept()
    server.setblocking(False)
    wire = Wire(client, server_name="127.0.0.1")
    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(wire.shake_hands)
            stream = await accept_tls(server, lambda: table)
    assert stream.bundle_id == other.bundle_id
    stream.close()


@pytest.mark.parametrize("missing", [1, 50])
async def test_a_hello_that_is_complete_after_a_swap_is_served_by_the_new_table(contexts, missing):
    old, new = contexts
    serving = [table_of(old), table_of(new, 2)]
    client, server = await sockets()
    wire = Wire(client)
    wire.handshake()
    hello = wire.take()
    asked = []

    def tables() -> Table[Context]:
        asked.append(True)
        return serving[0]()

    async def rest() -> None:
        await client.send_all(hello[:-missing])
        await trio.testing.wait_all_tasks_blocked()
        assert not asked, "nothing is chosen while the hello is incomplete"
        serving.pop(0)  # the commit of a new generation
        await client.send_all(hello[-missing:])
        await wire.shake_hands()

    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(rest)
            stream = await accept_tls(server, tables)
    assert stream.bundle_id == new.bundle_id
    assert len(asked) == 1
    stream.close()


# --- bytes at the border of the handshake


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_request_in_the_segment_of_the_last_flight_is_not_lost(contexts, version):
    client, server = await sockets()
    wire = Wire(client, client_context(version=version))
    request = b"GET / HTTP/1.1\r\nHost: device.test\r\n\r\n"

    async def ask() -> None:
        while not wire.handshake():
            await wire.flush()
            await wire.more()
        await wire.send(request)  # the last flight, where the client has it, goes out with this

    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            stream = await accept_tls(server, table_of(contexts[0]))
            assert await stream.receive_some() == request
            stream.close()


async def test_session_tickets_travel_with_the_first_response(contexts):
    with trio.fail_after(10):
        async with connected(contexts[0], client_context(version="TLSv1_3")) as (wire, stream):
            assert not select.select([wire.stream.socket.fileno()], [], [], 0)[0], "nothing was sent yet"
            await stream.send_all(b"response")
            assert await wire.receive(8) == b"response"
            assert wire.tls.session is not None
            assert wire.tls.session.has_ticket


async def test_tickets_do_not_wait_for_a_response_that_does_not_come(contexts):
    """Before we wait for the client, whatever we owe it is sent."""
    asking = client_context(version="TLSv1_3")
    async with connected(contexts[0], asking) as (wire, stream), trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive_some)
        with trio.fail_after(10):
            assert await wire.more()
        nursery.cancel_scope.cancel()


# --- what is refused, and how


@pytest.mark.parametrize("pieces", [[b"GET / HTTP/1.1\r\nHost: x\r\n"], [b"G", b"ET", b" / HTTP/1.1\r\n"]])
async def test_plain_http_is_handed_back_with_its_bytes_and_an_open_socket(contexts, pieces):
    client, server = await sockets()

    async def ask() -> None:
        for piece in pieces:
            await client.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()

    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            with pytest.raises(PlainHTTP) as caught:
                await accept_tls(server, table_of(contexts[0]))
            assert b"".join(pieces).startswith(caught.value.data)
            assert caught.value.data.startswith(b"GET ")
            server.send(b"HTTP/1.1 308 \r\n")
            assert await client.receive_some(100) == b"HTTP/1.1 308 \r\n"
            server.close()


async def test_junk_gets_a_clean_close_and_no_answer(contexts):
    client, server = await sockets()
    async with client:
        await client.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
        assert await fails(server, table_of(contexts[0])) == "not_tls"
        assert await alert_of(client) == b""


async def test_a_malformed_hello_gets_an_alert(contexts):
    client, server = await sockets()
    async with client:
        await client.send_all(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        assert await fails(server, table_of(contexts[0])) == "bad_hello"
        assert await alert_of(client) == bytes((21, 3, 3, 0, 2, 2, 50))


async def test_a_client_that_offers_only_other_protocols_is_told_so(contexts):
    client, server = await sockets()
    wire = Wire(client, client_context(alpn=("h2",)))
    wire.handshake()
    async with client:
        await wire.flush()
        assert await fails(server, table_of(contexts[0])) == "no_application_protocol"
        await wire.more()
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            wire.handshake()


async def test_without_any_bundle_a_client_is_told_that_the_fault_is_ours(contexts):
    client, server = await sockets()
    wire = Wire(client)
    wire.handshake()
    async with client:
        await wire.flush()
        assert await fails(server, table_of(None)) == "no_bundle"
        assert await alert_of(client) == bytes((21, 3, 3, 0, 2, 2, 80))


async def test_a_client_without_a_common_cipher_gets_the_engines_alert(contexts):
    client, server = await sockets()
    wire = Wire(client, client_context(version="TLSv1_2", ciphers="AES128-SHA"))
    wire.handshake()
    async with client:
        await wire.flush()
        assert await fails(server, table_of(contexts[0])) == "no_shared_cipher"
        await wire.more()
        with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
            wire.handshake()


async def test_a_client_that_distrusts_the_certificate_is_understood(contexts, pki):
    client, server = await sockets()
    wire = Wire(client, client_context(trust=pki.leaf(issuer=None).cert_pem))

    async def refuse() -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await wire.shake_hands()
        await wire.flush()

    async with client, trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        assert await fails(server, table_of(contexts[0])) == "client_alert_unknown_ca"


@pytest.mark.parametrize("sent", [0, 1, 60])
async def test_a_client_that_leaves_before_its_hello_is_whole_is_only_gone(contexts, sent):
    client, server = await sockets()
    wire = Wire(client)
    wire.handshake()
    if sent:
        await client.send_all(wire.take()[:sent])
    await client.aclose()
    assert await fails(server, table_of(contexts[0])) == "closed"


async def test_a_client_that_leaves_after_its_hello_is_only_gone(contexts):
    client, server = await sockets()
    wire = Wire(client)
    wire.handshake()
    await wire.flush()
    await client.send_eof()
    assert await fails(server, table_of(contexts[0])) == "closed"
    await client.aclose()


@pytest.mark.parametrize("whole", [False, True])
async def test_a_client_that_resets_is_only_gone(contexts, whole):
    client, server = await sockets()
    wire = Wire(client)
    wire.handshake()
    hello = wire.take()

    async def reset() -> None:
        await client.send_all(hello if whole else hello[:20])
        await trio.testing.wait_all_tasks_blocked()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reset)
        assert await fails(server, table_of(contexts[0])) == "reset"


# --- time


@pytest.mark.parametrize("sent", [0, 20, 10_000])
async def test_who_keeps_deadlines_can_end_a_handshake_at_any_point(contexts, sent):
    client, server = await sockets()
    wire = Wire(client)
    wire.handshake()
    await client.send_all(wire.take()[:sent])

    async def expire() -> None:
        await trio.testing.wait_all_tasks_blocked()
        notify_closing(server)

    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(expire)
            with pytest.raises(trio.ClosedResourceError):
                await accept_tls(server, table_of(contexts[0]))
    server.close()


@pytest.mark.parametrize("sent", [0, 20, 10_000])
async def test_a_cancelled_handshake_leaves_the_socket_to_its_owner(contexts, sent):
    client, server = await sockets()
    wire = Wire(client)
    wire.handshake()
    await client.send_all(wire.take()[:sent])
    with trio.fail_after(10):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(accept_tls, server, table_of(contexts[0]))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert server.fileno() >= 0
    server.close()
