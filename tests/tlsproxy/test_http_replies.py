from __future__ import annotations

import json

import h11
import pytest

from tlsproxy.http.replies import come_again, redirect_to_https, reply

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
STATUSES = [400, 404, 405, 408, 411, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505]


def read(answer: bytes, method: bytes = b"GET") -> tuple[h11.Response, dict[str, str], str]:
    """Read an answer with h11 as a client; nothing may be left over."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data == (b"", False)
    return response, {name.decode(): value.decode() for name, value in response.headers}, body.decode()


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("accept", [b"", b"*/*", BROWSER, b"text/plain"])
def test_every_reply_is_a_whole_response_that_says_what_happened(status, accept):
    response, fields, body = read(reply(status, accept))
    assert response.status_code == status
    assert str(status) in body
    assert fields["cache-control"] == "no-store"
    assert fields["connection"] == "close"
    assert int(fields["content-length"]) == len(body.encode())


def test_a_browser_gets_a_page_and_a_program_gets_problem_json():
    _, fields, body = read(reply(502, BROWSER))
    assert fields["content-type"] == "text/html; charset=utf-8"
    assert fields["content-security-policy"].startswith("default-src 'none'")
    assert "<h1>Bad Gateway</h1>" in body
    _, fields, body = read(reply(502, b"application/json", code="upstream_failed", words="no answer"))
    assert fields["content-type"] == "application/problem+json"
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Bad Gateway",
        "status": 502,
        "detail": "no answer",
        "code": "upstream_failed",
    }


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (b"", "application/problem+json"),
        (b"*/*", "application/problem+json"),
        (b"image/png", "application/problem+json"),
        (b"text/html", "text/html"),
        (b"TEXT/HTML;level=1", "text/html"),
        (b"text/html;q=0.5, application/json", "application/problem+json"),
        (b"text/html, application/json;q=0.9", "text/html"),
        (b"text/html;q=0, */*", "application/problem+json"),
        (b"text/html;q=x", "application/problem+json"),
        (b"text/plain", "text/plain"),
        (b"text/*", "text/plain"),
        (b"text/plain;q=0.1, */*", "application/problem+json"),
        (b";;;q=,,\xff", "application/problem+json"),
        (b"text/html;q=nan", "application/problem+json"),
    ],
)
def test_the_accept_field_decides_the_kind(accept, kind):
    assert read(reply(404, accept))[1]["content-type"].partition(";")[0] == kind


def test_a_reply_to_head_has_the_head_of_one_to_get_and_no_body():
    whole, bodiless = reply(404, BROWSER), reply(404, BROWSER, method=b"HEAD")
    assert whole.partition(b"\r\n\r\n")[0] == bodiless.partition(b"\r\n\r\n")[0]
    assert read(bodiless, b"HEAD")[2] == ""


def test_a_reply_may_leave_the_connection_open():
    assert "connection" not in read(reply(404, close=False))[1]


def test_who_shall_come_again_is_told_when_in_every_kind_of_answer():
    for accept in (b"text/html", b"*/*", b"text/plain"):
        for close in (True, False):
            answer = come_again(7, accept, close=close, method=b"GET", code="upstream_down")
            plain = reply(503, accept, close=close, code="upstream_down")
            assert answer.replace(b"Retry-After: 7\r\n", b"") == plain
            assert answer != plain
    assert come_again(7, close=True, method=b"HEAD", code="upstream_down").endswith(b"\r\n\r\n")


def test_words_are_never_markup():
    body = read(reply(400, b"text/html", code="<b>", words="<script>"))[2]
    assert "<script>" not in body
    assert "<b>" not in body


def test_a_status_that_nobody_foresaw_still_makes_a_reply():
    assert read(reply(418))[0].status_code == 418


def redirected(
    target: bytes = b"/a?b=c", host: bytes = b"device.test", port: int = 443, method: bytes = b"GET"
) -> tuple[int, str]:
    answer = redirect_to_https(method=method, target=target, host=host, port=port, keep_alive=True)
    response, fields, _ = read(answer, method)
    return response.status_code, fields.get("location", "")


@pytest.mark.parametrize(
    ("host", "port", "place"),
    [
        (b"device.test", 443, "https://device.test/a?b=c"),
        (b"device.test:80", 443, "https://device.test/a?b=c"),
        (b"device.test:8080", 8443, "https://device.test:8443/a?b=c"),
        (b"192.0.2.1", 8443, "https://192.0.2.1:8443/a?b=c"),
        (b"[2001:db8::1]:80", 443, "https://[2001:db8::1]/a?b=c"),
        (b"[2001:db8::1]", 8443, "https://[2001:db8::1]:8443/a?b=c"),
    ],
)
def test_a_plain_request_is_sent_to_the_same_place_by_https(host, port, place):
    assert redirected(host=host, port=port) == (301, place)


def test_get_and_head_are_told_in_the_old_way_and_others_keep_their_method():
    assert [redirected(method=m)[0] for m in (b"GET", b"HEAD", b"POST", b"PUT")] == [301, 301, 308, 308]


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (b"*", "https://device.test/"),
        (b"http://other.test/x?y", "https://device.test/x?y"),
        (b"HTTP://other.test", "https://device.test/"),
        (b"//evil.test/x", "https://device.test//evil.test/x"),
    ],
)
def test_the_place_is_always_on_the_host_that_was_asked(target, place):
    method = b"OPTIONS" if target == b"*" else b"GET"
    assert redirected(target=target, method=method)[1] == place


@pytest.mark.parametrize(
    "host", [b"", b"a b", b"a\r\nSet-Cookie: x", b"evil.test/x?", b"a@evil.test", b"a:99999", b"\xff"]
)
def test_a_host_that_is_none_is_refused_instead_of_becoming_a_location(host):
    assert redirected(host=host) == (400, "")


@pytest.mark.parametrize(
    "target", [b"", b"x", b"/a\r\nX: y", b"/a b", b"/\xff", b"/a#b", b"ftp://a/", b"/a/../b"]
)
def test_a_target_that_would_not_be_let_in_is_refused_too(target):
    assert redirected(target=target) == (400, "")


def test_a_redirect_says_when_the_connection_closes_after_it():
    def closing(*, keep_alive: bool) -> bool:
        answer = redirect_to_https(method=b"GET", target=b"/", host=b"a", port=443, keep_alive=keep_alive)
        return b"Connection: close" in answer

    assert closing(keep_alive=False)
    assert not closing(keep_alive=True)
