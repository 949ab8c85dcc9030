from __future__ import annotations

import pytest

from tlsproxy.http.framing import Framing
from tlsproxy.http.head import parse_request, parse_response
from tlsproxy.http.headers import (
    ForwardedFacts,
    framing_for_client,
    request_headers_for_upstream,
    response_headers_for_client,
)

FACTS = ForwardedFacts(b"192.0.2.7", b"https", b"192.0.2.1:8443")
TRUSTED = ForwardedFacts(b"10.0.0.1", b"https", b"192.0.2.1:8443", trusted=True)


def onward(*lines: str, facts: ForwardedFacts = FACTS, first: str = "GET /a?b HTTP/1.1") -> list[str]:
    """The lines of the head that goes to the upstream; a Host is added for HTTP/1.1."""
    host = ("Host: device.test",) if first.endswith("1.1") else ()
    raw = "\r\n".join((first, *host, *lines)) + "\r\n\r\n"
    written = request_headers_for_upstream(parse_request(raw.encode()), facts).decode()
    assert written.endswith("\r\n\r\n")
    return written[:-4].split("\r\n")


def named(lines: list[str], *names: str) -> list[str]:
    return [line for line in lines if line.partition(":")[0].lower() in names]


def test_a_plain_request_goes_on_with_its_host_first_and_where_it_came_from_last():
    assert onward("Accept: */*", "Connection: keep-alive", "Keep-Alive: timeout=5") == [
        "GET /a?b HTTP/1.1",
        "Host: device.test",
        "Accept: */*",
        "X-Forwarded-For: 192.0.2.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: device.test",
        'Forwarded: for=192.0.2.7;proto=https;host="device.test"',
    ]


def test_what_a_stranger_says_of_its_origin_is_dropped_in_every_spelling():
    lines = onward(
        "X-Forwarded-For: 6.6.6.6",
        "x-forwarded-proto: 6.6.6.6",
        "X_Forwarded_Host: 6.6.6.6",
        "X-Forwarded-Prefix: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "Client-IP: 6.6.6.6",
        "CLIENT_IP: 6.6.6.6",
        "True-Client-IP: 6.6.6.6",
        "X-Original-URL: 6.6.6.6",
        "Tlsproxy-Bundle: 6.6.6.6",
    )
    assert not [line for line in lines if "6.6.6.6" in line]
    assert len(lines) == 6


def test_a_trusted_peer_is_believed_and_we_are_added_to_its_chains():
    lines = onward(
        "X-Forwarded-For: 1.1.1.1, 2.2.2.2",
        "X-Forwarded-For: 3.3.3.3",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: www.example",
        "X-Forwarded-Port: 80",
        "Forwarded: for=1.1.1.1",
        "X_Forwarded_For: 6.6.6.6",
        "Tlsproxy-Bundle: 6.6.6.6",
        facts=TRUSTED,
    )
    assert lines[2:] == [
        "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1",
        'Forwarded: for=1.1.1.1, for=10.0.0.1;proto=https;host="device.test"',
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: www.example",
        "X-Forwarded-Port: 80",
    ]


def test_a_trusted_peer_with_one_kind_of_chain_gets_no_short_one_of_the_other_kind_beside_it():
    lines = onward("Forwarded: for=1.1.1.1;proto=http", facts=TRUSTED)
    assert lines[2:] == ['Forwarded: for=1.1.1.1;proto=http, for=10.0.0.1;proto=https;host="device.test"']
    lines = onward("X-Forwarded-For: 1.1.1.1", facts=TRUSTED)
    assert lines[2:] == [
        "X-Forwarded-For: 1.1.1.1, 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: device.test",
    ]


def test_a_trusted_peer_that_says_nothing_is_the_client():
    assert onward(facts=TRUSTED)[2] == "X-Forwarded-For: 10.0.0.1"


@pytest.mark.parametrize(
    ("client", "chain", "node"),
    [
        (b"2001:db8::7", ["X-Forwarded-For: 2001:db8::7"], 'for="[2001:db8::7]"'),
        (b"fe80::1%eth0", ["X-Forwarded-For: fe80::1"], 'for="[fe80::1]"'),
        (b"::ffff:192.0.2.7", ["X-Forwarded-For: 192.0.2.7"], "for=192.0.2.7"),
        (b"", [], "for=unknown"),
    ],
)
def test_a_client_is_named_as_each_field_wants_it(client, chain, node):
    lines = onward(facts=ForwardedFacts(client, b"https", b"x"))
    assert named(lines, "x-forwarded-for") == chain
    assert named(lines, "forwarded")[0].startswith(f"Forwarded: {node};")


def test_the_bundle_is_told_only_where_it_is_asked_for():
    told = ForwardedFacts(b"192.0.2.7", b"https", b"x", bundle=b"ab" * 32, generation=12)
    for facts in (
        told,
        ForwardedFacts(b"::1", b"https", b"x", trusted=True, bundle=b"ab" * 32, generation=12),
    ):
        lines = onward("Tlsproxy-Bundle: 00", "X-Forwarded-For: 1.1.1.1", facts=facts)
        assert named(lines, "tlsproxy-bundle") == ["Tlsproxy-Bundle: " + "ab" * 32]
        assert named(lines, "tlsproxy-generation") == ["Tlsproxy-Generation: 12"]


def test_an_old_client_without_a_host_gets_ours():
    lines = onward(first="GET / HTTP/1.0")
    assert lines[:2] == ["GET / HTTP/1.1", "Host: 192.0.2.1:8443"]


def test_framing_is_written_anew():
    assert named(onward("content-length:  5", first="POST / HTTP/1.1"), "content-length") == [
        "Content-Length: 5"
    ]
    chunked = onward("transfer-encoding: CHUNKED", first="POST / HTTP/1.1")
    assert named(chunked, "transfer-encoding") == ["Transfer-Encoding: chunked"]
    assert not named(onward(), "transfer-encoding", "content-length")


def test_an_upgrade_an_expectation_and_a_taste_for_trailers_reach_the_next_hop():
    lines = onward("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
    assert named(lines, "connection", "upgrade") == ["Connection: upgrade", "Upgrade: websocket"]
    lines = onward("Expect: 100-Continue", "Content-Length: 3", first="POST / HTTP/1.1")
    assert named(lines, "expect") == ["Expect: 100-continue"]
    lines = onward("Connection: TE", "TE: trailers, gzip")
    assert named(lines, "connection", "te") == ["Connection: te", "TE: trailers"]


def test_other_names_with_punctuation_go_on():
    assert named(onward("api_key: 1", "X.Y: 2"), "api_key", "x.y") == ["api_key: 1", "X.Y: 2"]


def answered(
    *lines: str,
    first: str = "HTTP/1.1 200 OK",
    method: bytes = b"GET",
    http10: bool = False,
    keep_alive: bool = True,
) -> list[str]:
    """The lines of the head that goes to the client."""
    raw = "\r\n".join((first, *lines)) + "\r\n\r\n"
    head = parse_response(raw.encode(), method, b"websocket")
    framing = framing_for_client(head, http10=http10)
    written = response_headers_for_client(head, framing, http10=http10, keep_alive=keep_alive).decode()
    assert written.endswith("\r\n\r\n")
    return written[:-4].split("\r\n")


def test_a_response_keeps_its_length_and_loses_its_hop_by_hop_fields():
    assert answered(
        "Server: x", "Content-Length: 5", "Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: 2"
    ) == [
        "HTTP/1.1 200 OK",
        "Server: x",
        "Content-Length: 5",
    ]


@pytest.mark.parametrize("said", [["Transfer-Encoding: chunked"], []])
def test_a_body_of_unknown_length_is_chunked_but_for_old_clients_whose_connection_closes(said):
    assert answered(*said) == ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"]
    assert answered(*said, http10=True) == ["HTTP/1.1 200 OK", "Connection: close"]


def test_whether_we_go_on_is_said_where_it_isnt_the_rule():
    assert answered("Content-Length: 1", keep_alive=False)[-1] == "Connection: close"
    assert answered("Content-Length: 1", http10=True)[-1] == "Connection: keep-alive"
    assert answered("Content-Length: 1", http10=True, keep_alive=False)[-1] == "Connection: close"
    assert answered("Content-Length: 1", first="HTTP/1.0 200 OK") == ["HTTP/1.1 200 OK", "Content-Length: 1"]


def test_the_length_of_what_is_not_sent_is_told_where_that_is_its_meaning():
    assert answered("Content-Length: 5", method=b"HEAD") == ["HTTP/1.1 200 OK", "Content-Length: 5"]
    assert answered("Content-Length: 5", first="HTTP/1.1 304 Not Modified")[1:] == ["Content-Length: 5"]
    assert answered("Content-Length: 5", first="HTTP/1.1 204 No Content") == ["HTTP/1.1 204 No Content"]
    assert answered("Transfer-Encoding: chunked", method=b"HEAD") == ["HTTP/1.1 200 OK"]


def test_an_interim_response_says_nothing_of_framing():
    assert answered("Link: </a>", first="HTTP/1.1 103 Early Hints", keep_alive=False) == [
        "HTTP/1.1 103 Early Hints",
        "Link: </a>",
    ]


def test_a_switch_of_protocols_goes_to_the_client_whole():
    assert answered(
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: x", first="HTTP/1.1 101 S"
    ) == [
        "HTTP/1.1 101 S",
        "Sec-WebSocket-Accept: x",
        "Connection: upgrade",
        "Upgrade: websocket",
    ]


def test_framing_for_a_client_never_changes_a_known_length():
    head = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"GET")
    assert framing_for_client(head, http10=True) == Framing.of_length(9)
