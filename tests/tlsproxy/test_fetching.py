"""An errand: what a hostile server, name or URL can do to it. Real sockets; only resolvers are made up."""

from __future__ import annotations

import socket
from ipaddress import ip_network

import pytest
import trio

from tests.errands import LOOPBACK, a_library, answer, redirect
from tlsproxy.fetching import FetchError, Limits, Post, fetch

LIMITS = Limits(size=1_000, seconds=30.0, redirects=2)
HASTE = Limits(size=1_000, seconds=0.2, redirects=2)


async def why(url: str, limits: Limits = LIMITS, allow=LOOPBACK) -> str:
    with trio.fail_after(60), pytest.raises(FetchError) as caught:
        await fetch(url, limits, allow)
    words = caught.value.why
    assert words.isprintable()
    assert words[:1].islower() or words[:1].isdigit() or words[:1] == ":"
    return words


@pytest.fixture
def names(monkeypatch) -> dict[str, list[list[str]]]:
    """What a resolver says, answer after answer; of others the real one is asked."""
    said: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def ask(host, port, *more, **kinds):
        if host not in said:
            return real(host, port, *more, **kinds)
        addresses = said[host].pop(0)
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (one, port))
            for family, one in zip(families, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    return said


async def test_a_file_is_fetched_by_a_plain_request_that_carries_nothing_of_ours():
    async with a_library() as library:
        library.pages["/issuer.cer?v=1"] = answer(b"bytes")
        assert await fetch(library.url("/issuer.cer?v=1#part"), LIMITS, LOOPBACK) == b"bytes"
        (head,) = library.heads
        lines = head.decode().lower().split("\r\n")
        assert lines[0] == "get /issuer.cer?v=1 http/1.1"
        assert f"host: 127.0.0.1:{library.port}" in lines
        assert not any(line.startswith(("cookie", "authorization", "user-agent: tlsproxy")) for line in lines)


async def test_a_request_can_be_sent_along():
    async with a_library() as library:
        library.pages["/ocsp"] = answer(b"signed")
        told = await fetch(
            library.url("/ocsp"), LIMITS, LOOPBACK, Post(b"question", "application/ocsp-request")
        )
        assert told == b"signed"
        assert library.bodies == [b"question"]
        assert b"POST /ocsp" in library.heads[0]
        assert b"content-type: application/ocsp-request" in library.heads[0].lower()


async def test_a_name_is_asked_by_its_own_name_at_the_address_that_was_checked(names):
    async with a_library() as library:
        library.pages["/x"] = answer(b"x")
        names["ca.test"] = [["127.0.0.1"]]  # asked again, the resolver would have nothing to say
        assert await fetch(library.url("/x", "ca.test"), LIMITS, LOOPBACK) == b"x"
        assert f"host: ca.test:{library.port}".encode() in library.heads[0].lower()


async def test_a_name_that_moves_between_two_looks_is_looked_up_only_once(names):
    async with a_library() as library:
        library.pages["/x"] = answer(b"x")
        names["rebind.test"] = [["127.0.0.1"], ["169.254.169.254"]]
        assert await fetch(library.url("/x", "rebind.test"), LIMITS, LOOPBACK) == b"x"
        assert names["rebind.test"] == [["169.254.169.254"]]


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["::ffff:127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["fe80::1%eth0"], ["100.64.0.1"]],
)
async def test_a_name_that_leads_inside_is_not_asked(names, addresses):
    async with a_library() as library:
        names["inside.test"] = [addresses]
        assert "inside.test" in await why(library.url("/x", "inside.test"), allow=())
        assert library.heads == []


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]"]
)
async def test_this_machine_is_not_asked_however_it_is_written(host):
    async with a_library() as library:
        await why(library.url("/x", host), allow=())
        assert library.heads == []


async def test_a_mapped_address_is_allowed_as_the_one_it_stands_for():
    async with a_library() as library:
        library.pages["/x"] = answer(b"x")
        url = library.url("/x", "[::ffff:127.0.0.1]")
        assert await fetch(url, LIMITS, [ip_network("127.0.0.0/8")]) == b"x"
        assert "not a public address" in await why(url, allow=[ip_network("::/0")])


async def test_a_redirect_is_followed_when_it_leads_where_one_may_ask():
    async with a_library() as library:
        library.pages |= {"/a": redirect("/b"), "/b": redirect(library.url("/c"), 307), "/c": answer(b"c")}
        assert await fetch(library.url("/a"), LIMITS, LOOPBACK) == b"c"
        assert library.asked == ["/a", "/b", "/c"]


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[fd00::1]/",
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://user:secret@127.0.0.1/",
        "//192.168.0.1/x",
        "http://[::1",
        "//[",
        "http://[secret]/",
    ],
)
async def test_a_redirect_leads_nowhere_else(to):
    async with a_library() as library:
        library.pages["/a"] = redirect(to)
        assert "secret" not in await why(library.url("/a"))
        assert library.asked == ["/a"]


async def test_a_redirect_without_a_place_or_in_a_circle_ends():
    async with a_library() as library:
        library.pages["/a"] = answer(b"", 302)
        library.pages["/b"] = redirect("/b")
        for path in ("/a", "/b"):
            assert "redirected more than 2 times" in await why(library.url(path))
        assert library.asked == ["/a"] * 3 + ["/b"] * 3


async def test_an_answer_beyond_its_size_is_given_up_whatever_its_head_says():
    async def endless(stream: trio.SocketStream, head: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 10_000)

    async def chunked(stream: trio.SocketStream, head: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"10\r\n0123456789abcdef\r\n")

    async with a_library() as library:
        library.pages |= {"/e": endless, "/c": chunked, "/l": answer(b"x" * 1_001)}
        for path in ("/e", "/c", "/l"):
            assert "larger than 1000 bytes" in await why(library.url(path))


async def test_a_head_without_end_is_given_up():
    async def heads(stream: trio.SocketStream, head: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send_all(b"x-more: " + b"y" * 1_000 + b"\r\n")

    async with a_library() as library:
        library.pages["/h"] = heads
        assert "can't be read" in await why(library.url("/h"))


@pytest.mark.parametrize("slow", ["connected", "head", "body"])
async def test_a_slow_server_gets_no_more_time_than_there_is(slow):
    async def drip(stream: trio.SocketStream, head: bytes) -> None:
        if slow == "body":
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
        if slow == "head":
            await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        await trio.sleep_forever()

    async with a_library() as library:
        library.pages["/s"] = drip
        assert "took longer than 0.2 s" in await why(library.url("/s"), HASTE)


async def test_a_resolver_that_hangs_gets_no_more_time_than_there_is(monkeypatch):
    import threading

    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_more, **_kinds: done.wait(30) and [])
    try:
        assert "took longer than 0.2 s" in await why("http://ca.test/x", HASTE)
    finally:
        done.set()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (answer(b"gone", 404), "answered 404"),
        (answer(b""), "empty"),
        (answer(b"\x1f\x8b", content_encoding="gzip"), "packed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\nshort", "can't be read"),
        (b"no http at all\r\n\r\n", "can't be read"),
        (b"", "can't be read"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "can't be read"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", "can't be read"),
    ],
)
async def test_what_a_server_answers_instead_is_told(page, words):
    async with a_library() as library:
        library.pages["/x"] = page
        assert words in await why(library.url("/x"))


async def test_a_server_that_is_not_there_and_a_name_that_is_none_are_told():
    async with a_library() as library:
        url = library.url("/x")
    assert "can't be reached" in await why(url)
    assert "the address of nobody.invalid can't be found" in await why("http://nobody.invalid/x")


async def test_the_next_address_is_tried_where_one_does_not_answer(names):
    async with a_library() as library:
        library.pages["/x"] = answer(b"x")
        names["two.test"] = [["127.0.0.2", "127.0.0.1"]]
        assert await fetch(library.url("/x", "two.test"), LIMITS, LOOPBACK) == b"x"


async def test_a_proxy_named_in_the_environment_is_not_used(monkeypatch):
    async with a_library() as proxy, a_library() as library:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        library.pages["/x"] = answer(b"x")
        assert await fetch(library.url("/x"), LIMITS, LOOPBACK) == b"x"
        assert proxy.heads == []


async def test_a_public_address_is_asked_on_its_web_port_only(names):
    names["odd.test"] = [["93.184.216.34"]]
    assert "only port 80" in await why("http://odd.test:22/x", allow=())


async def test_nothing_is_left_open_when_an_errand_is_cancelled():
    hung = trio.Event()
    gone = trio.Event()

    async def hang(stream: trio.SocketStream, head: bytes) -> None:
        hung.set()
        with trio.fail_after(30):
            assert await stream.receive_some() == b""
        gone.set()

    async with a_library() as library, trio.open_nursery() as nursery:
        library.pages["/h"] = hang
        nursery.start_soon(fetch, library.url("/h"), LIMITS, LOOPBACK)
        await hung.wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(30):
            await gone.wait()
