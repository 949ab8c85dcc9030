"""What the proxy answers itself: a short page or JSON for an error, and the way to https.

Promises: nothing that a client sent stands in an answer, but for the place of a redirect, whose host and
target were checked; an answer is whole and self-contained, without scripts or links. Refuses to know: why
an error happened beyond its words.

No Date and no Server: we hold no clock here, and there is nothing to gain from a banner.
"""

from __future__ import annotations

import html
import json

from tlsproxy.http.grammar import BadMessageError, members
from tlsproxy.http.target import check_host, origin_form

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>{status} {title}</title>'
    "<style>body{{font:1rem/1.5 system-ui,sans-serif;"
    "max-width:36rem;margin:15vh auto;padding:0 1rem}}</style>"
    "<h1>{title}</h1><p>{words}</p><p><small>{status} {code}</small></p></html>\n"
)
_HTML, _PROBLEM, _TEXT = b"text/html", b"application/problem+json", b"text/plain"

# Title and, where whoever asks for the answer has no better ones, words for a person. The titles are RFC
# 9110's, and not those of http.HTTPStatus, which changed them with Python 3.13.
_ANSWERS = {
    400: ("Bad Request", "the request can't be understood"),
    403: ("Forbidden", "this isn't allowed"),
    404: ("Not Found", "there is nothing at this address"),
    405: ("Method Not Allowed", "this method is not allowed here"),
    408: ("Request Timeout", "the request took too long to arrive"),
    409: ("Conflict", "this can't be done as things stand"),
    411: ("Length Required", "the request must say how long it is"),
    413: ("Content Too Large", "the request is too large"),
    414: ("URI Too Long", "the address is too long"),
    417: ("Expectation Failed", "an expectation of the request can't be met"),
    421: ("Misdirected Request", "this connection can't be used for that address"),
    429: ("Too Many Requests", "too many requests, try again in a while"),
    431: ("Request Header Fields Too Large", "the header of the request is too large"),
    500: ("Internal Server Error", "the proxy failed, its log says why"),
    501: ("Not Implemented", "the request asks for something that isn't implemented here"),
    502: ("Bad Gateway", "the service behind this address gave no proper answer"),
    503: ("Service Unavailable", "the service is not available now, try again in a while"),
    504: ("Gateway Timeout", "the service behind this address took too long"),
    505: ("HTTP Version Not Supported", "this version of http isn't spoken here"),
}
_BY_CODE = {
    "client_certificate_not_allowed": "the certificate that this client shows isn't let in here",
    "client_certificate_too_deep": "too many authorities stand between this client and the trusted one",
    "client_certificate_too_large": "the certificate that this client shows says more than can be told on",
    "client_certificate_unreadable": "the certificate that this client shows can't be read",
    "upstream_busy": "the service behind this address is busy, try again in a moment",
    "upstream_down": "the service behind this address is down: it may be starting, try again in a moment",
    "upstream_unreachable": "the service behind this address isn't there: it may be starting, or not running",
}
_REDIRECTS = {301: "Moved Permanently", 308: "Permanent Redirect"}


def reply(
    status: int,
    accept: bytes = b"",
    *,
    close: bool = True,
    method: bytes = b"GET",
    code: str = "",
    words: str = "",
) -> bytes:
    """Write a whole error response as the Accept field's value asks: a page, problem JSON or text.

    Browsers name text/html and get the page; everybody else gets JSON (RFC 9457), unless only text is
    accepted. A HEAD request gets the same head and no body. `close`: we close after it, and say so. `code`
    is the stable name of what went wrong, `words` say it to a person.
    """
    title, fields, body = _said(status, accept, code, words)
    return _whole(title, fields, body, close=close, bodiless=method == b"HEAD")


def come_again(seconds: int, accept: bytes = b"", *, close: bool, method: bytes, code: str) -> bytes:
    """Write a 503 as `reply` does, with `Retry-After` (RFC 9110 section 10.2.3)."""
    title, fields, body = _said(503, accept, code, "")
    fields.append(b"Retry-After: %d" % seconds)
    return _whole(title, fields, body, close=close, bodiless=method == b"HEAD")


def _said(status: int, accept: bytes, code: str, words: str) -> tuple[str, list[bytes], bytes]:
    """Give the status with its title, header fields and a body, as the Accept field's value asks."""
    title, usual_words = _ANSWERS.get(status) or (f"Status {status}", "the request failed")
    words = words or _BY_CODE.get(code, usual_words)
    code = code or title.lower().replace(" ", "_").replace("-", "_")
    kind = _preferred(accept)
    if kind == _HTML:
        sentence = html.escape(words[:1].upper() + words[1:] + ".")
        body = _PAGE.format(status=status, title=title, code=html.escape(code), words=sentence).encode()
    elif kind == _PROBLEM:
        problem = {"type": "about:blank", "title": title, "status": status, "detail": words, "code": code}
        body = json.dumps(problem).encode() + b"\n"
    else:
        body = f"{status} {title}: {words} ({code})\n".encode()
    fields = [
        b"Content-Type: " + (kind if kind == _PROBLEM else kind + b"; charset=utf-8"),
        b"Cache-Control: no-store",
        b"X-Content-Type-Options: nosniff",
    ]
    if kind == _HTML:
        fields.append(b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'")
    return f"{status} {title}", fields, body


def redirect_to_https(*, method: bytes, target: bytes, host: bytes, port: int, keep_alive: bool) -> bytes:
    """Answer a request made in plain HTTP: the same address by https at `port`, 443 left out.

    301 for GET and HEAD, which old clients know best, 308 for the others, which keeps method and body (RFC
    9110 section 15.4). A Host or a target that would not be let in gets 400, since it would become the
    Location.
    """
    try:
        check_host(host)
        onward, _ = origin_form(method, target)
    except BadMessageError as bad:
        return reply(bad.status, method=method, code=bad.code, words=bad.words)
    name = host[: host.index(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
    place = b"https://%b%b%b" % (
        name,
        b"" if port == 443 else b":%d" % port,
        b"/" if onward == b"*" else onward,
    )
    status = 301 if method in {b"GET", b"HEAD"} else 308
    # not to be remembered for ever: the device may get another port, and a browser forgets a 301
    # unwillingly
    fields = [b"Location: " + place, b"Cache-Control: no-store"]
    return _whole(f"{status} {_REDIRECTS[status]}", fields, b"", close=not keep_alive, bodiless=True)


def no_content(*, close: bool) -> bytes:
    """Say that all went well, and nothing more (RFC 9110 section 15.3.5)."""
    end = b"Connection: close\r\n\r\n" if close else b"\r\n"
    return b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n" + end


def key_authorization(text: bytes, *, close: bool, method: bytes) -> bytes:
    """Answer an ACME authority (RFC 8555 section 8.3)."""
    fields = [b"Content-Type: application/octet-stream", b"Cache-Control: no-store"]
    return _whole("200 OK", fields, text, close=close, bodiless=method == b"HEAD")


def _whole(status: str, fields: list[bytes], body: bytes, *, close: bool, bodiless: bool) -> bytes:
    head = [b"HTTP/1.1 %b" % status.encode(), *fields, b"Content-Length: %d" % len(body)]
    if close:
        head.append(b"Connection: close")
    return b"\r\n".join(head) + b"\r\n\r\n" + (b"" if bodiless else body)


def _preferred(accept: bytes) -> bytes:
    """Pick the best of our three kinds (RFC 9110 section 12.5.1): the page only for who names HTML."""
    weights = [_weight(member) for member in members([accept])]
    named = dict(weights)
    page = named.get(b"text/html", named.get(b"application/xhtml+xml", 0.0))
    problem = max(
        (named[kind] for kind in (_PROBLEM, b"application/json", b"application/*") if kind in named),
        default=0.0,
    )
    text = max((named[kind] for kind in (_TEXT, b"text/*") if kind in named), default=0.0)
    if page > 0 and page >= max(problem, text):
        return _HTML
    return _TEXT if text > max(problem, named.get(b"*/*", 0.0)) else _PROBLEM


def _weight(member: bytes) -> tuple[bytes, float]:
    kind, *parameters = (part.strip().lower() for part in member.split(b";"))
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return kind, min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return kind, 0.0
    return kind, 1.0
