from __future__ import annotations

import pytest

from tlsproxy.errors import ClientProtocolError
from tlsproxy.routing.table import Route, RouteTable

TABLE = RouteTable(
    (Route("/", "ui"), Route("/api", "api"), Route("/api/v2/", "new"), Route("/a.b", "dotted"))
)


def matched(path: bytes, table: RouteTable = TABLE) -> str | None:
    route = table.match(path)
    return route.upstream_name if route else None


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        (b"/", "ui"),
        (b"/x", "ui"),
        (b"/api", "api"),
        (b"/api/", "api"),
        (b"/api/v2", "new"),
        (b"/api/v2/", "new"),
        (b"/api/v2/x", "new"),
        (b"/api/v22", "api"),
        (b"/apis", "ui"),
        (b"/API", "ui"),
        (b"/x/api", "ui"),
        (b"/a.b/c", "dotted"),
        (b"/aXb", "ui"),
        (b"/a.b\n", "ui"),
        (b"*", "ui"),
    ],
)
def test_the_longest_prefix_wins_and_ends_where_a_segment_ends(path, upstream):
    assert matched(path) == upstream


@pytest.mark.parametrize(
    "path",
    [
        b"//api",
        b"///api/x",
        b"/%61pi",
        b"/ap%69/x",
        b"/api%2Fv2",
        b"/api;x/v2",
        b"/api/v2;x",
        b"/api//v2",
        b"/%2561pi",
        b"/api%5Cv2",
        b"/api%3Fv2",
        b"/api%23",
    ],
)
def test_a_path_whose_route_depends_on_who_reads_it_is_refused(path):
    with pytest.raises(ClientProtocolError) as caught:
        TABLE.match(path)
    assert (caught.value.status, caught.value.code) == (400, "ambiguous_path")


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        (b"/api/a%20b", "api"),
        (b"/api/group%2Fproject", "api"),
        (b"/api/x//y", "api"),
        (b"/x//y;z=1", "ui"),
        (b"/api/go/https%3A%2F%2Fx", "api"),
        (b"/.well-known/x", "ui"),
    ],
)
def test_an_escape_that_no_route_depends_on_is_nobodys_trouble(path, upstream):
    assert matched(path) == upstream


def test_a_path_that_cant_be_decoded_is_refused():
    with pytest.raises(ClientProtocolError) as caught:
        TABLE.match(b"/%zz")
    assert (caught.value.status, caught.value.code) == (400, "bad_escape")


def test_without_a_root_route_other_paths_have_none():
    table = RouteTable((Route("/api", "api"),))
    assert matched(b"/api/x", table) == "api"
    assert matched(b"/x", table) is None
    assert matched(b"*", table) is None


def test_an_only_route_takes_everything_and_nothing_is_ambiguous():
    table = RouteTable((Route("/", "all"),))
    assert matched(b"//api%2F;x", table) == "all"


def test_no_routes_match_nothing():
    assert matched(b"/", RouteTable(())) is None


@pytest.mark.parametrize("prefix", ["", "api", "/a?b", "/a/../b", "/a%20b", "/a//b", "/é", "/a;b", "/a\\b"])
def test_a_prefix_that_could_be_read_in_two_ways_is_no_route(prefix):
    with pytest.raises(ValueError, match="plain path"):
        Route(prefix, "x")


def test_two_routes_with_one_prefix_are_refused_even_if_a_slash_differs():
    with pytest.raises(ValueError, match="same prefix"):
        RouteTable((Route("/api", "a"), Route("/api/", "b")))
