"""The request gate: a head is let in only if every reader behind us reads it as we do; so for responses.

Promises: what comes out of here has one method, one target, one host, one framing, and fields without a
byte that could end a line; it goes on from these values alone, never from the bytes that came in. A head is
read once. Refuses to know: routes, sockets, time, what an upstream is.

Decided, where RFC 9112 leaves a choice (tests/vectors/http has a case for each):
- CRLF only; no blank line before a request line; no folded field; no whitespace before a colon.
- HTTP/1.1 needs exactly one non-empty Host; HTTP/1.0 may have one. Other versions: 505.
- Content-Length beside Transfer-Encoding, or twice, even if equal, is refused (http/framing.py says why).
- Upgrade counts only with `Connection: upgrade`, in HTTP/1.1, without a body, for exactly one protocol that
  is not HTTP or TLS; otherwise it is ignored, as RFC 9110 section 7.8 allows, and the request is answered
  without it.
- `Expect: 100-continue` counts in HTTP/1.1 with a body and is ignored elsewhere; any other expectation gets
  417.
- A connection option that names an end-to-end field (Host, Authorization, X-Forwarded-For, ...) is refused.
- Fields with an underscore pass, but for lookalikes of those that we read or write (http/fields.py says
  why).
- Known limit: Max-Forwards of an OPTIONS request goes on unread; no client of a device counts hops.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tlsproxy import policy
from tlsproxy.errors import ClientProtocolError, Fault
from tlsproxy.http import hops
from tlsproxy.http.fields import KNOWN, KNOWN_IN_RESPONSES, Role, response_role_of, role_of
from tlsproxy.http.framing import Framing, declared
from tlsproxy.http.grammar import (
    REQUEST_LINE,
    STATUS_LINE,
    TOKEN,
    BadMessageError,
    Field,
    blame,
    split_fields,
)
from tlsproxy.http.target import (
    check_host,
    check_method,
    uncommon_request_line,
)


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a head may be: all of it, its first line (bytes), and how many fields it may have."""

    head_bytes: int = policy.MAX_HEAD_BYTES
    line_bytes: int = policy.MAX_REQUEST_LINE_BYTES
    fields: int = policy.MAX_FIELDS


DEFAULT_LIMITS = HeadLimits()
# By names of their own, since an enum looks its members up in Python (until 3.12): 0.07 us each, ten a head.
_HOST, _LENGTH, _CODING = Role.HOST, Role.LENGTH, Role.CODING
_CONNECTION, _UPGRADE, _EXPECT, _TE = Role.CONNECTION, Role.UPGRADE, Role.EXPECT, Role.TE


# Structs and not dataclasses: one of each is made per request, and a frozen dataclass of this size costs
# 1.2 us, a frozen Struct 0.1 (measured); all of parse_request is five.
class RequestHead(msgspec.Struct, frozen=True):
    """A request head that was let in.

    target: as the upstream gets it, in origin-form or `*`. path: the target without its query. host: b""
    only in HTTP/1.0. headers: all fields as sent, whitespace around values removed. onward: those that go
    end to end, in order; origin: those that say where the request came from (X-Forwarded-*, Forwarded,
    ...), to be believed only from a trusted peer. keep_alive: whether the client would go on. upgrade: the
    protocol it wants to switch to, as sent. expect_continue: it waits for a 100 before its body. trailers:
    it says that it can take trailer fields.
    """

    method: bytes
    target: bytes
    path: bytes
    http10: bool
    host: bytes
    headers: list[Field]
    onward: list[Field]
    origin: list[Field]
    framing: Framing
    keep_alive: bool
    upgrade: bytes | None
    expect_continue: bool
    trailers: bool

    def get(self, name: bytes) -> bytes:
        """Give the first value of the field whose name in lower case is `name`, or b""."""
        return first(self.headers, name)

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.path!r}>"  # fields and query may hold secrets


class ResponseHead(msgspec.Struct, frozen=True):
    """A response head that was let in.

    framing: how the body that follows ends; never UNTIL_CLOSE where there can be no body. declared: what
    its fields said, which for HEAD and 304 is about a body that does not follow (None: nothing). onward:
    the fields that go end to end. keep_alive: the upstream's connection may be used again. upgrade: the
    protocol of a 101, as sent.
    """

    status: int
    reason: bytes
    http10: bool
    headers: list[Field]
    onward: list[Field]
    framing: Framing
    declared: Framing | None
    keep_alive: bool
    upgrade: bytes | None

    def get(self, name: bytes) -> bytes:
        """Give the first value of the field whose name in lower case is `name`, or b""."""
        return first(self.headers, name)

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}>"  # fields may hold secrets


def first(fields: list[Field], name: bytes) -> bytes:
    """Give the first value of the field whose name in lower case is `name`, or b""."""
    for spelled, value in fields:
        if len(spelled) == len(name) and spelled.lower() == name:
            return value
    return b""


def find_head_end(buffer: bytes | bytearray, start: int = 0) -> int:
    """Find where a head ends: the index after its empty line, or -1.

    `start`: how much was searched already (the last three bytes are looked at again).
    """
    end = buffer.find(b"\r\n\r\n", max(0, start - 3))
    return end + 4 if end >= 0 else -1


def check_unfinished(buffer: bytes | bytearray, limits: HeadLimits = DEFAULT_LIMITS) -> None:
    """Refuse the beginning of a request head that no further byte can mend, so that nobody waits for its end.

    Raises ClientProtocolError: 414 or 431 above a limit, 400 for what is not HTTP or ends its lines with a
    bare LF. `buffer` may be empty. Costs a scan; ask it only when find_head_end says -1.
    """
    try:
        _check_beginning(buffer, limits)
    except BadMessageError as bad:
        raise blame(Fault.CLIENT, bad) from None


def check_unfinished_response(buffer: bytes | bytearray, limits: HeadLimits = DEFAULT_LIMITS) -> None:
    """Refuse the beginning of a response head that no further byte can mend: UpstreamProtocolError."""
    try:
        _check_beginning_of_response(buffer, limits)
    except BadMessageError as bad:
        raise blame(Fault.UPSTREAM, bad) from None


def parse_request(raw: bytes, limits: HeadLimits = DEFAULT_LIMITS) -> RequestHead:
    """Read a whole request head, `raw` up to and with its empty line, or refuse it with ClientProtocolError.

    The error's status is what the client deserves (400, 414, 417, 431, 501, 505); the connection can't go
    on after it, since where the message ends may be unknown.
    """
    try:
        return _request(raw, limits)
    except BadMessageError as bad:
        raise ClientProtocolError(bad.status, bad.code, bad.words) from None


def parse_response(raw: bytes, request_method: bytes, upgrade: bytes | None = None) -> ResponseHead:
    """Read a whole response head to a request with that method, or refuse it with UpstreamProtocolError.

    `upgrade` is what the request asked for: a 101 to anything else would make a tunnel that nobody wanted.
    Size is the caller's to bound (`check_unfinished_response`).
    """
    try:
        return _response(raw, request_method, upgrade)
    except BadMessageError as bad:
        raise blame(Fault.UPSTREAM, bad) from None


def _request(raw: bytes, limits: HeadLimits) -> RequestHead:
    if len(raw) > limits.line_bytes or len(raw) > limits.head_bytes:
        _check_sizes(raw, limits)
    method, target, path, http10, authority, begin = _request_line(raw)
    fields = split_fields(raw, begin)
    if len(fields) > limits.fields:
        raise BadMessageError(431, "too_many_fields", "there are too many header fields")
    onward, found, origin = hops.sort_by_role(fields, KNOWN, role_of)
    host = _host(found[_HOST], authority, http10=http10)
    options, framing, upgrade, expected, trailers = hops.NO_OPTIONS, Framing.NONE, None, False, False
    if found[_CONNECTION]:
        options = hops.connection_options(found)
        onward = hops.without_nominated(onward, options)
    if found[_LENGTH] or found[_CODING]:
        framing = declared(found[_LENGTH], found[_CODING], http10=http10) or framing
    if found[_UPGRADE] and framing.is_empty and not http10:
        upgrade = hops.upgrade_of(found, options)
    if found[_EXPECT]:
        expected = hops.expects_continue(found) and not framing.is_empty and not http10
    if found[_TE] and not http10:
        trailers = hops.takes_trailers(found)
    keep_alive = hops.keeps_alive(options, http10=http10)
    return RequestHead(  # by position, which costs half: in the order of the class
        method,
        target,
        path,
        http10,
        host,
        fields,
        onward,
        origin,
        framing,
        keep_alive,
        upgrade,
        expected,
        trailers,
    )


def _request_line(raw: bytes) -> tuple[bytes, bytes, bytes, bool, bytes, int]:
    """Read the first line as `target.RequestLine` has it; a tuple, because most lines are quickly read."""
    common = REQUEST_LINE.match(raw)
    if not common:
        return uncommon_request_line(raw)
    method, target, path, minor = common.groups()
    check_method(method)
    return method, target, path, minor == b"0", b"", common.end()


def _host(hosts: list[bytes], authority: bytes, *, http10: bool) -> bytes:
    """Decide on the one host (RFC 9112 section 3.2); an absolute target must name the same."""
    if len(hosts) > 1:
        raise BadMessageError(400, "several_hosts", "there is more than one host field")
    if not hosts:
        if not http10:
            raise BadMessageError(400, "no_host", "an http/1.1 request needs a host field")
        return authority
    host = hosts[0]
    check_host(host)
    if authority and authority.lower() != host.lower():
        raise BadMessageError(400, "host_mismatch", "the target names another host than the host field")
    return host


def _check_beginning(buffer: bytes | bytearray, limits: HeadLimits) -> None:
    if buffer and not TOKEN.match(buffer):
        raise BadMessageError(400, "not_http", "this does not begin like an http request")
    _check_sizes(buffer, limits)
    _check_line_ends(buffer)


def _check_beginning_of_response(buffer: bytes | bytearray, limits: HeadLimits) -> None:
    begin = bytes(buffer[:7])
    if begin != b"HTTP/1."[: len(begin)]:
        raise BadMessageError(502, "not_http", "this does not begin like an http response")
    if len(buffer) > limits.head_bytes:
        raise BadMessageError(502, "head_too_large", "the response head is too large")
    _check_line_ends(buffer)


def _check_line_ends(buffer: bytes | bytearray) -> None:
    if buffer.count(b"\n") != buffer.count(b"\r\n"):
        raise BadMessageError(400, "bare_lf", "a line ends with a bare LF")


def _check_sizes(head: bytes | bytearray, limits: HeadLimits) -> None:
    line_end = head.find(b"\r\n", 0, limits.line_bytes + 2)
    if line_end < 0 and len(head) > limits.line_bytes + 1:
        raise BadMessageError(414, "request_line_too_long", "the request line is too long")
    if len(head) > limits.head_bytes:
        raise BadMessageError(431, "head_too_large", "the header fields are too large")


def _response(raw: bytes, request_method: bytes, upgrade: bytes | None) -> ResponseHead:
    line = STATUS_LINE.match(raw)
    if not line:
        raise BadMessageError(502, "bad_status_line", "the status line is not `HTTP/1.x status reason`")
    minor, digits, reason = line.groups()
    status, http10 = int(digits), minor == b"0"
    fields = split_fields(raw, line.end())
    onward, found, _ = hops.sort_by_role(fields, KNOWN_IN_RESPONSES, response_role_of)
    options = hops.NO_OPTIONS
    if found[_CONNECTION]:
        options = hops.connection_options(found)
        onward = hops.without_nominated(onward, options)
    said = declared(found[_LENGTH], found[_CODING], http10=http10)
    bodiless = status < 200 or status in {204, 304} or request_method == b"HEAD"  # RFC 9112 section 6.3
    framing = Framing.NONE if bodiless else (said or Framing.UNTIL_CLOSE)
    # A 204 that announces a body may send one, which would then be taken for the next response.
    doubtful = framing is Framing.UNTIL_CLOSE or (status == 204 and said is not None and not said.is_empty)
    keep_alive = not doubtful and hops.keeps_alive(options, http10=http10)
    switched_to = _switched_to(found, options, upgrade) if status == 101 else None
    return ResponseHead(  # by position, as above
        status, reason or b"", http10, fields, onward, framing, said, keep_alive, switched_to
    )


def _switched_to(found: hops.Found, options: frozenset[bytes], asked: bytes | None) -> bytes:
    """Check that a 101 switches to what was asked for, and to nothing else (RFC 9110 section 7.8)."""
    protocol = hops.upgrade_of(found, options)
    if asked is None or protocol is None or protocol.lower() != asked.lower():
        raise BadMessageError(
            502, "unasked_upgrade", "the upstream switches to a protocol that was not asked for"
        )
    return protocol
