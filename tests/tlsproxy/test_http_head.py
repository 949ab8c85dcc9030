from __future__ import annotations

import time
from contextlib import suppress

import pytest

from tlsproxy.errors import ClientProtocolError, UpstreamProtocolError
from tlsproxy.http.fields import KNOWN, KNOWN_IN_RESPONSES, response_role_of, role_of
from tlsproxy.http.framing import Framing
from tlsproxy.http.grammar import REQUEST_LINE
from tlsproxy.http.head import (
    HeadLimits,
    check_unfinished,
    check_unfinished_response,
    find_head_end,
    parse_request,
    parse_response,
)
from tlsproxy.paths import is_plain

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def refused(*arguments: object, of=parse_request) -> tuple[int, str]:
    try:
        of(*arguments)
    except (ClientProtocolError, UpstreamProtocolError) as error:
        return error.status, error.code
    pytest.fail("let in")


def test_a_head_ends_after_its_first_empty_line_wherever_the_search_goes_on():
    buffer = GET + b"\r\nGET /pipelined"
    end = len(GET) + 2
    assert find_head_end(buffer) == end
    assert find_head_end(bytearray(buffer)) == end
    for searched in range(end):
        assert find_head_end(buffer[:searched]) == -1
        assert find_head_end(buffer, searched) == end


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b"GET / HTTP/1.1\n", (400, "bare_lf")),
        (b"\r\n", (400, "not_http")),
        (b"\x16\x03\x01", (400, "not_http")),
        (b"/ " + b"a" * 10, (400, "not_http")),
        (b"GET /" + b"a" * 9000, (414, "request_line_too_long")),
        (b"A" * 9000, (414, "request_line_too_long")),
        (GET + b"X: " + b"a" * 40_000, (431, "head_too_large")),
    ],
)
def test_nobody_waits_for_the_end_of_a_head_that_nothing_can_mend(beginning, expected):
    assert refused(beginning, of=check_unfinished) == expected
    assert refused(bytearray(beginning), of=check_unfinished) == expected


def test_the_beginning_of_a_good_head_is_let_alone():
    whole = GET + b"X: y\r\n\r\n"
    for end in range(len(whole)):
        check_unfinished(whole[:end])
    response = b"HTTP/1.1 200 OK\r\nX: y\r\n"
    for end in range(len(response)):
        check_unfinished_response(response[:end])


@pytest.mark.parametrize(
    ("beginning", "code"),
    [
        (b"SSH-2.0", "not_http"),
        (b"HTTP/2", "not_http"),
        (b"HTTP/1.1 200 OK\n", "bare_lf"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40_000, "head_too_large"),
    ],
)
def test_nor_for_that_of_a_response(beginning, code):
    assert refused(beginning, of=check_unfinished_response) == (502, code)


def test_each_limit_is_kept_to_the_byte():
    line = b"GET /aaaa HTTP/1.1"
    head = line + b"\r\nHost: a\r\nX: y\r\n\r\n"
    parse_request(head, HeadLimits(head_bytes=len(head), line_bytes=len(line), fields=2))
    assert refused(head, HeadLimits(line_bytes=len(line) - 1)) == (414, "request_line_too_long")
    assert refused(head, HeadLimits(head_bytes=len(head) - 1)) == (431, "head_too_large")
    assert refused(head, HeadLimits(fields=1)) == (431, "too_many_fields")


def test_a_head_never_shows_its_fields_or_its_query_when_it_is_printed():
    head = parse_request(b"GET /a?token=secret HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n")
    assert "secret" not in repr(head)
    response = parse_response(b"HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\n\r\n", b"GET")
    assert "secret" not in repr(response)


def test_a_field_is_found_by_its_name_in_lower_case():
    head = parse_request(GET + b"aCCept: x\r\nAccept: y\r\n\r\n")
    assert head.get(b"accept") == b"x"
    assert head.get(b"cookie") == b""
    assert parse_response(b"HTTP/1.1 200 OK\r\nETag: z\r\n\r\n", b"GET").get(b"etag") == b"z"


def test_a_switch_of_protocols_is_compared_without_case():
    raw = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\n"
    assert parse_response(raw, b"GET", b"websocket").upgrade == b"WebSocket"


def test_a_response_to_head_has_no_body_whatever_it_says():
    for said in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"):
        head = parse_response(b"HTTP/1.1 200 OK\r\n" + said + b"\r\n\r\n", b"HEAD")
        assert head.framing is Framing.NONE
        assert head.keep_alive


def test_the_table_of_everyday_names_says_what_the_rule_says():
    for spelling, role in KNOWN.items():
        assert role is role_of(spelling), spelling
    for spelling, role in KNOWN_IN_RESPONSES.items():
        assert role is response_role_of(spelling), spelling


def test_the_quick_way_for_plain_paths_takes_exactly_the_plain_ones():
    for byte in range(0x21, 0x7F):
        for path in (b"/%c" % byte, b"/a%cb/c" % byte, b"/%c.x" % byte):
            quick = REQUEST_LINE.match(b"GET " + path + b" HTTP/1.1\r\n")
            if chr(byte) in "?#":
                continue
            assert bool(quick) == is_plain(path), path
            if quick:
                assert quick[3] == path


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET " + b"/" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"%25" * 2600 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"%2e" * 2600 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        GET + b"X:" + b" " * 32_000 + b"\x01\r\n\r\n",
        GET + b"X: " + b"a \t" * 10_000 + b"\r\n\r\n",
        GET + b"a" * 32_000 + b"\r\n\r\n",
        GET + b"\r" * 32_000 + b"\r\n\r\n",
        GET + b"Connection: " + b"," * 32_000 + b"\r\n\r\n",
        GET + b"Connection: " + b"a," * 16_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * 32_000 + b"\r\n\r\n",
        GET + b"Content-Length: " + b"9" * 32_000 + b"\r\n\r\n",
        GET + b"x:y\r\n" * 6_000 + b"\r\n",
    ],
    ids=range(12),
)
def test_no_head_within_the_limits_takes_long(hostile):
    started = time.perf_counter()
    with suppress(ClientProtocolError):
        parse_request(hostile)
    # The worst takes 2 ms; anything that grows with the square would take seconds.
    assert time.perf_counter() - started < 0.5
