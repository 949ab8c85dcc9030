from __future__ import annotations

import pytest

from tlsproxy import policy
from tlsproxy.errors import ClientProtocolError, Fault, UpstreamProtocolError
from tlsproxy.http.body import BodyReader, encode_chunk, encode_last_chunk
from tlsproxy.http.framing import Framing


def refused(data: bytes, fault: Fault = Fault.CLIENT) -> str:
    with pytest.raises((ClientProtocolError, UpstreamProtocolError)) as caught:
        BodyReader(Framing.CHUNKED, fault).feed(data)
    return caught.value.code


def test_a_message_without_a_body_is_done_before_anything_is_read():
    for framing in (Framing.NONE, Framing.of_length(0)):
        reader = BodyReader(framing)
        assert reader.done
        assert reader.feed(b"GET /") == b""
        assert reader.leftover == b"GET /"


def test_a_body_of_known_length_passes_without_a_copy():
    reader, data = BodyReader(Framing.of_length(100_000)), bytes(60_000)
    assert reader.feed(data) is data
    assert not reader.done
    last = reader.feed(data)
    assert isinstance(last, memoryview)
    assert last.obj is data
    assert len(last) == 40_000
    assert (reader.done, len(reader.leftover)) == (True, 20_000)


def test_one_chunk_in_one_piece_passes_without_a_copy():
    reader, data = BodyReader(Framing.CHUNKED), b"10000\r\n" + bytes(0x8000)
    payload = reader.feed(data)
    assert isinstance(payload, memoryview)
    assert payload.obj is data


def test_a_body_until_close_ends_when_the_connection_does():
    reader = BodyReader(Framing.UNTIL_CLOSE, Fault.UPSTREAM)
    assert reader.feed(b"abc") == b"abc"
    assert not reader.done
    reader.end()
    assert reader.done


@pytest.mark.parametrize("framing", [Framing.of_length(5), Framing.CHUNKED], ids=str)
def test_an_end_before_the_end_is_an_error_of_whose_message_it_is(framing):
    reader = BodyReader(framing, Fault.UPSTREAM)
    reader.feed(b"4\r\n")
    with pytest.raises(UpstreamProtocolError, match="body_truncated"):
        reader.end()
    with pytest.raises(ClientProtocolError, match="body_truncated"):
        BodyReader(framing, Fault.CLIENT).end()


def test_an_end_after_the_end_is_none():
    reader = BodyReader(Framing.CHUNKED)
    reader.feed(b"0\r\n\r\n")
    reader.end()
    assert reader.done


def test_trailers_pass_but_for_those_that_may_not_stand_there():
    reader = BodyReader(Framing.CHUNKED)
    reader.feed(
        b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\nHost: a\r\nAuthorization: b\r\n"
        b"Connection: close\r\nX-Forwarded-For: c\r\nX_Forwarded_For: c\r\n"
        b"Tlsproxy-Bundle: d\r\nSet-Cookie: e\r\n"
        b"Grpc-Status:  0 \r\n\r\n"
    )
    assert reader.trailers == [(b"X-Sum", b"1"), (b"Grpc-Status", b"0")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"5\r\nhelloX", "bad_chunk_end"),
        (b"5\r\nhello\n", "bad_chunk_end"),
        (b"5\r\nhello\rX", "bad_chunk_end"),
        (b"5\nhello\r\n", "bad_chunk_size"),
        (b"0x5\r\n", "bad_chunk_size"),
        (b"+5\r\n", "bad_chunk_size"),
        (b"-5\r\n", "bad_chunk_size"),
        (b" 5\r\n", "bad_chunk_size"),
        (b"5 \r\n", "bad_chunk_size"),
        (b"5 ;a\r\n", "bad_chunk_size"),
        (b"\r\n", "bad_chunk_size"),
        (b"g", "bad_chunk_size"),
        (b"5;a\nb\r\n", "bad_chunk_size"),
        (b"5;a\rb\r\n", "bad_chunk_size"),
        (b"8000000000000000\r\n", "bad_chunk_size"),
        (b"fffffffffffffffff\r\n", "bad_chunk_size"),
        (b"5;" + b"a" * 300 + b"\r\n", "chunk_line_too_long"),
        (b"5;" + b"a" * 300, "chunk_line_too_long"),
        (b"1;" + b"a" * 200 + b"\r\nx\r\n", None),
        ((b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100, "chunk_overhead"),
        (b"0\r\nX: y\n", "bare_lf"),
        (b"0\r\nX : y\r\n\r\n", "bad_field_name"),
        (b"0\r\nX: y\r\n z\r\n\r\n", "folded_field"),
        (b"0\r\nX: " + b"y" * policy.MAX_TRAILER_BYTES, "trailers_too_large"),
        (b"0\r\nX: " + b"y" * policy.MAX_TRAILER_BYTES + b"\r\n\r\n", "trailers_too_large"),
        (b"0\r\n" + b"X: y\r\n" * 101 + b"\r\n", "trailers_too_large"),
    ],
)  # fmt: skip
def test_a_chunked_body_with_two_meanings_or_without_bounds_is_refused(data, code):
    if code is None:
        BodyReader(Framing.CHUNKED).feed(data)
    else:
        assert refused(data) == code
        assert refused(data, Fault.UPSTREAM) == code


def test_many_small_chunks_are_one_payload():
    reader = BodyReader(Framing.CHUNKED)
    assert reader.feed(b"1\r\na\r\n" * 10_000) == b"a" * 10_000
    assert reader.feed(b"0\r\n\r\n") == b""
    assert reader.done


def test_no_payload_makes_no_chunk_because_an_empty_one_would_end_the_body():
    assert encode_chunk(b"") == b""
    assert encode_chunk(memoryview(b"hello")) == b"5\r\nhello\r\n"
    assert encode_last_chunk([(b"X-Sum", b"1")]) == b"0\r\nX-Sum: 1\r\n\r\n"
