"""Laws of routing: the longest prefix wins, and no way of writing a path leads around that."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tlsproxy import paths
from tlsproxy.errors import ClientProtocolError
from tlsproxy.routing.table import Route, RouteTable

words = st.sampled_from(["api", "a", "v1", "ui", "x.y"])
prefixes = st.lists(words, max_size=3).map(lambda parts: "/" + "/".join(parts))
tables = st.sets(prefixes, max_size=5).map(
    lambda found: RouteTable(tuple(Route(p, p) for p in sorted(found)))
)
plain_paths = st.lists(words, max_size=4).map(lambda parts: ("/" + "/".join(parts)).encode())


def by_hand(table: RouteTable, path: bytes) -> Route | None:
    """Find the longest prefix segment by segment."""
    parts = path.split(b"/")
    while parts:
        for route in table.routes:
            if route.path == b"/".join(parts):
                return route
        parts.pop()
    return next((route for route in table.routes if route.prefix == "/"), None)


@st.composite
def disguised(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A plain path, and the same path as a generous reader would still read it."""
    plain, written = draw(plain_paths), b""
    for byte in plain:
        char = bytes([byte])
        disguises = [char, char, char, b"%%%02x" % byte, b"%%25%02X" % byte]
        if char == b"/":
            disguises += [b"//", b"%5c", b";x/"] if written else [b"//"]
        written += draw(st.sampled_from(disguises))
    return plain, written if written.startswith(b"/") else b"/" + written


@settings(max_examples=400, deadline=None)
@given(tables, plain_paths)
def test_a_plain_path_goes_by_its_longest_prefix(table, path):
    assert table.match(path) is by_hand(table, path)


@settings(max_examples=600, deadline=None)
@given(tables, disguised())
def test_a_disguised_path_goes_where_the_plain_one_goes_or_nowhere(table, pair):
    plain, written = pair
    assume(b"." not in plain.split(b"/"))
    assert paths.plain(written) == plain.replace(b"//", b"/")
    try:
        route = table.match(written)
    except ClientProtocolError as error:
        event(error.code)
        return
    event("matched")
    if table.routes != (Route("/", "/"),):
        assert route is by_hand(table, plain)


@settings(max_examples=600, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"/", b".", b"%2e", b"%2F", b"%5C", b"a", b";", b"%25", b"2e", b"%", b"\\"]),
        max_size=10,
    )
)
def test_no_dot_segment_passes_whatever_one_or_two_decodings_do_to_it(parts):
    path = b"/" + b"".join(parts)
    try:
        paths.check(path)
    except paths.DeceptivePathError as error:
        event(error.code)
        return
    event("passed")
    for seen in (path, once := unquote_to_bytes(path), unquote_to_bytes(once)):
        segments = [segment.partition(b";")[0] for segment in seen.replace(b"\\", b"/").split(b"/")]
        assert not {b".", b".."} & set(segments)
