"""Laws of WebSocket framing: no splitting changes what is known of it, and wsproto's frames are followed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from tlsproxy.http.websocket import GOING_AWAY, Frames, close_frame

SIZES = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 70_000]) | st.integers(
    0, 300
)
KEY = b"\x01\x80\xff\x00"


@dataclass(frozen=True)
class Frame:
    first: int
    size: int
    masked: bool
    spread: int = 0  # bytes of length more than needed

    @property
    def wire(self) -> bytes:
        mask = 0x80 if self.masked else 0
        needed = [self.size < 126, self.size < 65_536, True].index(True)
        extended = (0, 2, 8)[needed + self.spread]
        length = bytes((mask | ((126, 127)[extended // 8] if extended else self.size),))
        length += self.size.to_bytes(extended, "big") if extended else b""
        return bytes((self.first,)) + length + (KEY if self.masked else b"") + b"\x88" * self.size


def frames(*, masked: bool) -> st.SearchStrategy[list[Frame]]:
    data = st.builds(
        Frame, st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0xC2, 0xF1]), SIZES, st.just(masked)
    )
    control = st.builds(Frame, st.sampled_from([0x89, 0x8A, 0xFA]), st.integers(0, 125), st.just(masked))
    return st.lists(data | control, max_size=6)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def state(frames: Frames) -> tuple[Any, ...]:
    return frames.missing, frames.at_boundary, frames.closed, frames.lost


CUTS = st.lists(st.integers(0, 1 << 20), max_size=8)


@given(st.booleans(), st.data())
def test_however_a_stream_is_split_its_frames_end_where_they_end(masked, data):
    drawn = data.draw(frames(masked=masked))
    wire = b"".join(frame.wire for frame in drawn)
    ends = set(accumulate((len(frame.wire) for frame in drawn), initial=0))
    followed, at = Frames(masked=masked), 0
    for piece in pieces_of(wire, data.draw(CUTS)):
        followed.feed(piece)
        at += len(piece)
        assert followed.at_boundary is (at in ends)
        assert followed.missing <= min(end for end in ends if end >= at) - at
        assert not followed.closed
        assert not followed.lost
    assert followed.at_boundary


@given(st.booleans(), st.data())
def test_reading_what_is_missing_ends_at_the_end_of_the_frame_and_not_beyond(masked, data):
    wire = b"".join(frame.wire for frame in data.draw(frames(masked=masked)))
    frame = Frame(0x82, data.draw(SIZES), masked).wire
    cut = data.draw(st.integers(1, len(frame)))
    followed = Frames(masked=masked)
    followed.feed(wire + frame[:cut])
    while size := followed.missing:
        followed.feed((frame + wire)[cut : cut + size])
        cut += size
    assert cut == len(frame)


@given(st.booleans(), st.data(), st.binary(max_size=20))
def test_a_close_frame_is_known_once_it_has_passed_and_nothing_behind_it_is_read(masked, data, behind):
    before = b"".join(frame.wire for frame in data.draw(frames(masked=masked)))
    close = Frame(0x88, data.draw(st.integers(0, 125)), masked).wire
    followed, at = Frames(masked=masked), 0
    for piece in pieces_of(before + close + behind, data.draw(CUTS)):
        followed.feed(piece)
        at += len(piece)
        assert followed.closed is (at >= len(before + close))
        assert not followed.lost
    assert followed.at_boundary


@given(st.booleans(), st.binary(max_size=200), CUTS)
@example(masked=False, wire=b"\x82\x7f" + (1 << 62).to_bytes(8, "big"), cuts=[9])
@example(masked=True, wire=b"\x82", cuts=[])
@example(masked=True, wire=b"\x00\x81", cuts=[1])
def test_what_is_known_of_any_bytes_at_all_does_not_depend_on_how_they_were_split(masked, wire, cuts):
    whole, split = Frames(masked=masked), Frames(masked=masked)
    whole.feed(wire)
    for piece in pieces_of(wire, cuts):
        split.feed(piece)
    event("lost" if whole.lost else "framed")
    assert whole.lost == split.lost
    if not whole.lost:
        assert state(whole) == state(split)
    else:
        assert not whole.at_boundary
        assert not whole.closed


BROKEN = {
    "an opcode that nobody has defined": lambda masked: Frame(0x83, 5, masked),
    "a control opcode that nobody has defined": lambda masked: Frame(0x8B, 5, masked),
    "a fragmented ping": lambda masked: Frame(0x09, 5, masked),
    "a fragmented close": lambda masked: Frame(0x08, 2, masked),
    "a long ping": lambda masked: Frame(0x89, 126, masked),
    "a long close": lambda masked: Frame(0x88, 70_000, masked),
    "a mask on the wrong side": lambda masked: Frame(0x82, 5, not masked),
    "a mask on the wrong side of a long frame": lambda masked: Frame(0x82, 500, not masked),
    "a length of two bytes that fits into none": lambda masked: Frame(0x82, 125, masked, spread=1),
    "a length of eight bytes that fits into two": lambda masked: Frame(0x82, 65_535, masked, spread=1),
}


@pytest.mark.parametrize("masked", [True, False], ids=["client", "upstream"])
@pytest.mark.parametrize("name", BROKEN)
@given(before=st.data(), cuts=CUTS)
def test_what_a_strict_reader_refuses_is_given_up_for_good(name, masked, before, cuts):
    good = b"".join(frame.wire for frame in before.draw(frames(masked=masked)))
    followed = Frames(masked=masked)
    for piece in pieces_of(good + BROKEN[name](masked).wire, cuts):
        followed.feed(piece)
    assert followed.lost
    followed.feed(Frame(0x88, 2, masked).wire)
    assert not followed.closed
    assert not followed.at_boundary


texts = st.builds(TextMessage, st.text(max_size=200), message_finished=st.booleans())
binaries = st.builds(BytesMessage, SIZES.map(bytes), message_finished=st.booleans())
controls = st.builds(Ping, st.binary(max_size=125)) | st.builds(Pong, st.binary(max_size=125))
# of one kind, since a message that is not finished goes on as what it began
messages = st.lists(texts | controls, max_size=5) | st.lists(binaries | controls, max_size=5)


@given(st.sampled_from(ConnectionType), messages, st.booleans(), CUTS)
def test_the_frames_of_wsproto_are_followed_fragments_and_all(kind, messages, close, cuts):
    sender = Connection(kind)
    followed = Frames(masked=kind is ConnectionType.CLIENT)
    for message in messages:
        for piece in pieces_of(bytes(sender.send(message)), cuts):
            followed.feed(piece)
        assert followed.at_boundary
    if close:
        followed.feed(bytes(sender.send(CloseConnection(1000, "x" * 100))))
    assert (followed.closed, followed.lost) == (close, False)


@given(st.sampled_from(ConnectionType), st.binary(min_size=4, max_size=4))
def test_our_close_frame_is_one_to_a_strict_reader_also_between_two_fragments(kind, key):
    receiver, from_client = Connection(kind), kind is ConnectionType.SERVER
    wire = close_frame(GOING_AWAY, key if from_client else b"")
    receiver.receive_data(Frame(0x02, 5, from_client).wire + wire)
    fragment, close = receiver.events()
    assert isinstance(fragment, BytesMessage)
    assert not fragment.message_finished
    assert isinstance(close, CloseConnection)
    assert (close.code, close.reason) == (1001, "")
    followed = Frames(masked=from_client)
    followed.feed(wire)
    assert followed.closed
