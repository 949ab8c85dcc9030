"""W3C Trace Context: a valid one goes on, anything else is replaced by a new one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.http.trace import continue_trace

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
VALID = b"00-%b-00f067aa0ba902b7-01" % TRACE
OURS = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01")


def counting(size: int) -> bytes:
    return bytes(range(1, size + 1))


@pytest.mark.parametrize(
    "parent",
    [
        VALID,
        VALID[:-2] + b"00",
        VALID[:-2] + b"ff",
        b"cc" + VALID[2:],
        b"cc" + VALID[2:] + b"-what the future brings",
        b"cc" + VALID[2:] + b"-",
    ],
)
def test_a_valid_context_goes_on_as_it_came(parent: bytes) -> None:
    fields = [(b"Accept", b"*/*"), (b"TraceParent", parent), (b"tracestate", b"rojo=1")]
    before = list(fields)
    assert continue_trace(fields, counting) == TRACE
    assert fields == before


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"garbage",
        VALID.upper(),
        VALID[:-1],
        VALID + b"-more",
        VALID + b"-",
        VALID + b"\n",
        b" " + VALID,
        b"ff" + VALID[2:],
        b"cc" + VALID[2:] + b".",
        VALID.replace(TRACE, b"0" * 32),
        VALID.replace(b"00f067aa0ba902b7", b"0" * 16),
        VALID.replace(b"-", b"_"),
    ],
)
def test_one_that_is_not_valid_is_replaced_and_its_state_with_it(parent: bytes) -> None:
    fields = [(b"traceparent", parent), (b"Accept", b"*/*"), (b"Tracestate", b"rojo=1")]
    trace = continue_trace(fields, counting)
    assert trace == bytes(range(1, 17)).hex().encode()
    assert fields == [(b"Accept", b"*/*"), (b"traceparent", b"00-%b-1112131415161718-01" % trace)]


def test_two_contexts_are_none() -> None:
    fields = [(b"traceparent", VALID), (b"traceparent", VALID)]
    assert continue_trace(fields, counting) != TRACE
    assert len(fields) == 1


def test_a_state_without_a_parent_is_dropped() -> None:
    fields = [(b"tracestate", b"rojo=1")]
    continue_trace(fields, counting)
    assert [name for name, _ in fields] == [b"traceparent"]


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"Traceparent", b"a"]), st.binary(max_size=60))))
def test_whatever_came_exactly_one_valid_context_goes_on(fields: list[tuple[bytes, bytes]]) -> None:
    others = [field for field in fields if field[0] == b"a"]
    trace = continue_trace(fields, counting)
    parents = [value for name, value in fields if name.lower() == b"traceparent"]
    assert len(parents) == 1
    assert OURS.fullmatch(parents[0]) or trace in parents[0]
    assert [field for field in fields if field[0] == b"a"] == others
