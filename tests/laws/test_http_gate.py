"""The differential law of the request gate: whatever it lets in, other readers read as it does.

h11 and llhttp (httptools) are the other readers: the one stands behind many Python programs, the other
behind Node.js. Heads are made near-valid on purpose: an ordinary one, with a part or two replaced by what has
fooled readers before. The law says nothing about what the gate refuses, so one test makes sure that it lets
enough in.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import h11
import httptools
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from tlsproxy.errors import ClientProtocolError
from tlsproxy.http.fields import Role, role_of
from tlsproxy.http.framing import Framing, Kind
from tlsproxy.http.head import HeadLimits, RequestHead, find_head_end, parse_request
from tlsproxy.http.headers import ForwardedFacts, request_headers_for_upstream

VECTORS = Path(__file__).parents[1] / "vectors" / "http" / "requests"
# What llhttp knows of the methods that are made here; it refuses all others, which we let through.
LLHTTP_METHODS = {b"GET", b"POST", b"PUT", b"OPTIONS", b"HEAD", b"DELETE", b"PATCH", b"PROPFIND"}
WIDE = HeadLimits(head_bytes=100_000, line_bytes=10_000, fields=120)

# Each part of a head has what is ordinary and what is odd; an odd part may be allowed or not.
PARTS = ("method", "gap", "target", "version", "line_end", "host", "colon", "field", "value")

tokens = st.text("abcXYZ-_09!#$%&'*+.^`|~", min_size=1, max_size=12).map(str.encode)
texts = st.text('ab ,;="\t\xe9', max_size=20).map(lambda text: text.encode("latin-1"))
queries = st.sampled_from([b"", b"", b"?", b"?a=b", b"?/../x", b"?|{}\\", b"?%"])
segments = st.sampled_from([b"", b"a", b"api", b"...", b"a%2Fb", b"~!@", b"*", b"%c3%a9", b"a;v=1"])
odd_segments = segments | st.sampled_from(
    [b".", b"..", b"%2e%2e", b"%5c", b"..;x", b"%", b"%zz", b"\\", b"%252e", b"#"]
)


def paths_of(parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(parts, max_size=4).map(lambda found: b"/" + b"/".join(found))


absolute_targets = st.builds(
    lambda scheme, authority, path, query: scheme + authority + path + query,
    st.sampled_from([b"http://", b"HTTPS://", b"http:/", b"ftp://"]),
    st.sampled_from(
        [b"device.test", b"DEVICE.test", b"device.test:80", b"u@device.test", b"", b"other.test"]
    ),
    st.sampled_from([b"", b"/", b"/a"]),
    queries,
)
odd_targets = (
    st.builds(bytes.__add__, paths_of(odd_segments), queries)
    | st.sampled_from([b"*", b"a", b"device.test:80", b"", b"//x", b"/\x80", b"/\x7f", b"/ x", b"/a?b#c"])
    | absolute_targets
)
fields = st.sampled_from(
    [
        (b"Content-Length", b"5"), (b"content-length", b"0"), (b"Transfer-Encoding", b"chunked"),
        (b"TE", b"trailers"), (b"transfer-encoding", b"Chunked"), (b"Transfer_Encoding", b"chunked"),
        (b"Connection", b"close"), (b"Connection", b"Upgrade"), (b"Connection", b"keep-alive, x-a"),
        (b"Upgrade", b"websocket"), (b"Upgrade", b"h2c"), (b"Expect", b"100-continue"), (b"X-A", b"1"),
        (b"X-Forwarded-For", b"1.2.3.4"), (b"Forwarded", b"for=1.2.3.4"), (b"X_Real_IP", b"1.2.3.4"),
        (b"Tlsproxy-Bundle", b"x"), (b"Keep-Alive", b"timeout=5"), (b"Cookie", b"a=b; c"),
    ]
)  # fmt: skip
odd_fields = st.sampled_from(
    [
        (b"Content-Length", b"+5"), (b"Content-Length", b"5,5"), (b"Content-Length", b"00"),
        (b"Content-Length", b"9" * 19), (b"Content-Length", b"5 "), (b"Content-Length", b"0x5"),
        (b"Content-Length", b"5\x0b"), (b"Host", b"other.test"), (b"Transfer-Encoding", b"xchunked"),
        (b"Transfer-Encoding", b"gzip, chunked"), (b"Transfer-Encoding", b"\x0bchunked"),
        (b"Transfer-Encoding", b""), (b"Transfer-Encoding", b"chunked,"),
        (b"Transfer-Encoding\t", b"chunked"), (b"Host", b""), (b"host", b"[::1]:80"),
        (b"Connection", b"Host"), (b"Expect", b"x"), (b" X", b"1"), (b"", b"1"),
    ]
)  # fmt: skip
ORDINARY: dict[str, st.SearchStrategy] = {
    "method": st.sampled_from([*sorted(LLHTTP_METHODS), b"get", b"FROB"]),
    "gap": st.just(b" "),
    "target": st.builds(bytes.__add__, paths_of(segments), queries),
    "version": st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]),
    "line_end": st.just(b"\r\n"),
    "host": st.just(b"Host: device.test\r\n"),
    "colon": st.sampled_from([b": ", b":", b":\t", b":  "]),
    "field": fields | st.tuples(tokens, texts),
    "value": st.sampled_from([b"", b"", b" ", b" \t"]),
}
ODD: dict[str, st.SearchStrategy] = {
    "method": tokens | st.sampled_from([b"CONNECT", b"TRACE", b"", b"G(T", b"G" * 33]),
    "gap": st.sampled_from([b"  ", b"\t", b"", b"\x0b"]),
    "target": odd_targets,
    "version": st.sampled_from([b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1", b""]),
    "line_end": st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r\n", b" \r\n", b"\r\n "]),
    "host": st.sampled_from(
        [b"", b"Host: a b\r\n", b"HOST:device.test\r\n", b"Host: device.test:80\r\n", b"Host:\r\n"]
    ),
    "colon": st.sampled_from([b" : ", b":\r\n ", b"", b"::", b"\t:"]),
    "field": odd_fields | fields,
    "value": st.binary(max_size=3),
}


@st.composite
def near_valid_heads(draw: st.DrawFn) -> bytes:
    """A request head with at most two odd parts; it ends at its first empty line."""
    odd = draw(st.sets(st.sampled_from(PARTS), max_size=2))
    part = {name: (ODD if name in odd else ORDINARY)[name] for name in PARTS}
    head = (
        draw(part["method"])
        + draw(part["gap"])
        + draw(part["target"])
        + draw(part["gap"])
        + draw(part["version"])
    )
    head += draw(part["line_end"]) + draw(part["host"])
    for name, value in draw(st.lists(part["field"], max_size=3)):
        head += name + draw(part["colon"]) + value + draw(part["value"]) + draw(part["line_end"])
    head += b"\r\n\r\n"
    return bytes(head[: find_head_end(head)])


@st.composite
def damaged_vectors(draw: st.DrawFn) -> bytes:
    """One of the vectors with some bytes replaced, put in or taken out."""
    path = draw(st.sampled_from(sorted(VECTORS.glob("*.http"))))
    raw = bytearray(
        b"".join(line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(b"# "))
    )
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b" ", b"\r", b"\n", b"\0", b":", b",", b"\t", b"x"])
        )
    raw += b"\r\n\r\n"
    return bytes(raw[: find_head_end(raw)])


def admitted(raw: bytes) -> RequestHead | None:
    try:
        head = parse_request(raw)
    except ClientProtocolError as error:
        event(f"refused: {error.status} {error.code}")
        return None
    event("admitted")
    return head


def origin_form(method: bytes, target: bytes) -> bytes:
    """What a target means, by another reader of URLs."""
    if target.startswith(b"/") or target == b"*":
        return target
    _, _, rest = target.partition(b"://")
    onward = rest[len(urlsplit(target.decode()).netloc) :]
    if not onward and method == b"OPTIONS":
        return b"*"
    return onward if onward.startswith(b"/") else b"/" + onward


def h11_framing(raw: bytes) -> tuple[h11.Request, Framing]:
    """Read with h11; the framing is found by feeding it bodies, not by looking at its insides."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    connection.receive_data(raw)
    request = connection.next_event()
    assert isinstance(request, h11.Request), request
    following = connection.next_event()
    if isinstance(following, h11.EndOfMessage):
        declared = any(name == b"content-length" for name, _ in request.headers)
        return request, Framing.of_length(0) if declared else Framing.NONE
    assert following is h11.NEED_DATA
    connection.receive_data(b"3\r\nabc\r\n0\r\n\r\n")
    data = connection.next_event()
    assert isinstance(data, h11.Data)
    if bytes(data.data) == b"abc":
        return request, Framing.CHUNKED
    length = next(int(value) for name, value in request.headers if name == b"content-length")
    assert bytes(data.data) == b"3\r\nabc\r\n0\r\n\r\n"[:length]
    return request, Framing.of_length(length)


def check_against_h11(raw: bytes, head: RequestHead) -> None:
    request, framing = h11_framing(raw)
    assert head.method == request.method
    assert head.target == origin_form(request.method, request.target)
    ours = [(name.lower(), value) for name, value in head.headers]
    # h11 gives the one coding that it takes in lower case
    assert [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in ours] == list(request.headers)
    assert head.http10 == (request.http_version == b"1.0")
    assert head.framing == framing


class Reader:
    """llhttp's account of a head."""

    def __init__(self, raw: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url, self.body, self.complete = b"", b"", False
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            self.complete = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def check_against_llhttp(raw: bytes, head: RequestHead, *, may_refuse: bool) -> None:
    """`may_refuse`: it does so with `chunked` before whitespace; what goes on from us it must take."""
    if head.method not in LLHTTP_METHODS:
        return
    try:
        reader = Reader(raw)
    except httptools.HttpParserError:
        assert may_refuse
        return
    assert reader.parser.get_method() == head.method
    assert origin_form(head.method, reader.url) == head.target
    assert [(name, value.rstrip(b" \t")) for name, value in reader.headers] == head.headers
    assert reader.parser.get_http_version() == ("1.0" if head.http10 else "1.1")
    if b"upgrade" in {name.lower() for name, _ in head.headers}:
        return  # llhttp stops there, whatever the framing
    assert reader.complete == head.framing.is_empty
    if head.framing == Framing.CHUNKED:
        reader.parser.feed_data(b"3\r\nabc\r\n0\r\n\r\n")
        assert (reader.body, reader.complete) == (b"abc", True)
    elif 0 < head.framing.length < 100:
        reader.parser.feed_data(b"x" * head.framing.length)
        assert (reader.body, reader.complete) == (b"x" * head.framing.length, True)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(near_valid_heads() | damaged_vectors())
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_whatever_the_gate_lets_in_h11_and_llhttp_read_alike(raw):
    if head := admitted(raw):
        check_against_h11(raw, head)
        check_against_llhttp(raw, head, may_refuse=True)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.http")), ids=lambda path: path.stem)
def test_h11_and_llhttp_read_every_vector_that_is_let_in_alike(path):
    raw = b"".join(line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(b"# "))
    try:
        head = parse_request(raw)
    except ClientProtocolError:
        return
    check_against_h11(raw, head)
    check_against_llhttp(raw, head, may_refuse=True)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    near_valid_heads() | damaged_vectors(),
    st.booleans(),
    st.sampled_from([b"192.0.2.1", b"2001:db8::1", b""]),
)
def test_the_head_for_the_upstream_says_the_same_and_nothing_that_was_smuggled_in(raw, trusted, client):
    head = admitted(raw)
    if head is None:
        return
    facts = ForwardedFacts(client, b"https", b"device.test", trusted, bundle=b"ab" * 32, generation=7)
    onward = request_headers_for_upstream(head, facts)
    again = parse_request(onward, WIDE)  # our own fields may bring it above a client's limits
    check_against_h11(onward, again)
    check_against_llhttp(onward, again, may_refuse=False)
    assert (again.method, again.target, again.framing) == (head.method, head.target, head.framing)
    assert again.host == (head.host or b"device.test")
    assert (again.upgrade, again.expect_continue) == (head.upgrade, head.expect_continue)
    assert again.onward == head.onward
    assert not again.http10
    roles = [role_of(name) for name, _ in again.headers]
    assert Role.HOP not in roles
    assert Role.LOOKALIKE not in roles
    assert [value for name, value in again.headers if role_of(name) is Role.OURS] == [b"ab" * 32, b"7"]
    if not trusted:
        assert b"1.2.3.4" not in b"".join(value for _, value in again.origin)
        assert request_headers_for_upstream(again, facts) == onward


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_at_all_make_the_gate_fail_otherwise_than_by_refusing(noise, headlike):
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n" + noise + b"\r\n\r\n" if headlike else noise
    if (head := admitted(raw)) and head.framing.kind is not Kind.CHUNKED:
        check_against_h11(raw, head)


def test_enough_near_valid_heads_are_let_in_for_the_law_to_mean_something():
    heads = []

    @settings(
        max_examples=300,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(near_valid_heads() | damaged_vectors())
    def count(raw: bytes) -> None:
        heads.append(admitted(raw) is not None)

    count()
    assert sum(heads) > len(heads) / 4
