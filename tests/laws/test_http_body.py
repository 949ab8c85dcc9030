"""Laws of bodies: no way of splitting them changes them, and h11 finds the same end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h11
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from tlsproxy.errors import ClientProtocolError
from tlsproxy.http.body import BodyReader, encode_chunk, encode_last_chunk
from tlsproxy.http.framing import Framing

payloads = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
sizes = st.sampled_from(["{:x}", "{:X}", "{:04x}", "{:x};a=b", '{:x}; a = "b"', "{:x};"])
odd_sizes = sizes | st.sampled_from(
    [
        "0x{:x}",
        "+{:x}",
        "{:x} ",
        "{:x} ;a",
        " {:x}",
        "{:x}\n;",
        "{:x};\r",
        "{:x};a\n",
        "-{:x}",
        "{:d}g",
        "{:017x}",
    ]
)
odd_ends = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"", b"\r\r\n", b" \r\n"])
trailers = st.sampled_from(
    [b"", b"X-Sum: 1\r\n", b"Content-Length: 5\r\nX: y\r\n", b"Host: a\r\n", b"a b\r\n", b"X: y\n", b" x\r\n"]
)
leftovers = st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"\r\n", b"0\r\n\r\n"])


@st.composite
def near_valid_chunked(draw: st.DrawFn) -> bytes:
    """A chunked body, perhaps broken in places, and what follows it."""
    whole = draw(st.booleans())
    body = b""
    for payload in draw(payloads):
        size = draw(sizes if whole else odd_sizes).format(len(payload)).encode()
        body += size + b"\r\n" + payload + (b"\r\n" if whole else draw(odd_ends))
    body += b"0\r\n" + draw(trailers) + (b"\r\n" if whole else draw(odd_ends)) + draw(leftovers)
    return body


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def outcome(framing: Framing, pieces: list[bytes]) -> tuple[Any, ...]:
    """Feed the pieces; give all that can be seen afterwards, or the error's code."""
    reader, payload = BodyReader(framing), b""
    try:
        for piece in pieces:
            payload += reader.feed(piece)
    except ClientProtocolError as error:
        return (error.code,)
    return payload, reader.done, reader.leftover, reader.trailers


cuts = st.lists(st.integers(0, 400), max_size=12)


@settings(max_examples=500, deadline=None)
@given(near_valid_chunked(), cuts)
@example(b"5\r\nhello\r\n0\r\n\r\nGET", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
def test_no_way_of_splitting_a_chunked_body_changes_it(body, cuts):
    whole, split = outcome(Framing.CHUNKED, [body]), outcome(Framing.CHUNKED, pieces_of(body, cuts))
    assert len(whole) == len(split), "refused in one piece and taken in several"
    if len(whole) > 1:
        assert split == whole


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 70), cuts)
def test_no_way_of_splitting_a_body_of_known_length_changes_it(data, length, cuts):
    payload, done, leftover, _ = outcome(Framing.of_length(length), pieces_of(data, cuts))
    assert payload == data[:length]
    assert leftover == data[length:]
    assert done == (len(data) >= length)


@settings(max_examples=500, deadline=None)
@given(near_valid_chunked())
def test_what_is_read_of_a_chunked_body_h11_reads_alike(body):
    found = outcome(Framing.CHUNKED, [body])
    if len(found) == 1:
        event(f"refused: {found[0]}")
        return
    payload, done, leftover, kept = found
    event("whole" if done else "unfinished")
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    connection.next_event()
    theirs = b""
    while isinstance(next_event := connection.next_event(), h11.Data):
        theirs += bytes(next_event.data)
    assert theirs == payload
    assert isinstance(next_event, h11.EndOfMessage) == done
    if isinstance(next_event, h11.EndOfMessage):
        assert connection.trailing_data[0] == leftover
        assert {name.lower() for name, _ in kept} <= {name for name, _ in next_event.headers}


@settings(max_examples=300, deadline=None)
@given(
    payloads,
    st.lists(st.tuples(st.sampled_from([b"X-A", b"Digest"]), st.binary(max_size=0)), max_size=2),
    cuts,
)
def test_chunks_that_we_write_are_read_back_whole(parts, fields, cuts):
    body = b"".join(map(encode_chunk, parts)) + encode_last_chunk(fields)
    assert outcome(Framing.CHUNKED, pieces_of(body, cuts)) == (b"".join(parts), True, b"", fields)
