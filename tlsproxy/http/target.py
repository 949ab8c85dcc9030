r"""The request target: the four forms of RFC 9112 section 3.2, and the two that a front door takes.

Promises: what goes on is in origin-form (or `*` for OPTIONS), and its path has one meaning. Refuses to
know: routes.

Decided: absolute-form is taken where its authority is the Host, CONNECT and authority-form are not
implemented (we are nobody's forward proxy), TRACE isn't either (it shows a script what only the programs
should see). Any other method that is a token goes through, registered or not: the program behind us knows
its own. A target is visible ASCII without a fragment. Queries go through as they are: browsers send `|`,
`{`, `[`, `\` and lone `%` in them, and nothing here reads them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tlsproxy import paths, policy
from tlsproxy.http.grammar import ABSOLUTE_TARGET, ANY_REQUEST_LINE, AUTHORITY, TOKEN, BadMessageError

_NOT_IMPLEMENTED = frozenset({b"CONNECT", b"TRACE"})
_VISIBLE = re.compile(rb"[!-~]++")


class RequestLine(NamedTuple):
    """A request line as it goes on.

    `authority` is what an absolute target named, else b""; `end` is where the line ends in the head.
    """

    method: bytes
    target: bytes
    path: bytes
    http10: bool
    authority: bytes
    end: int


def check_method(method: bytes) -> None:
    """Refuse what is not implemented for any resource (501, RFC 9110 section 9.1)."""
    if method in _NOT_IMPLEMENTED:
        raise BadMessageError(501, "method_not_implemented", "this method is not implemented here")
    if len(method) > policy.MAX_METHOD_BYTES:
        raise BadMessageError(501, "method_too_long", "the method is longer than any that is known")


def check_path(path: bytes) -> None:
    """Refuse a path that could be read as another (tlsproxy/paths.py says why)."""
    try:
        paths.check(path)
    except paths.DeceptivePathError as error:
        raise BadMessageError(400, error.code, error.words) from None


def check_host(host: bytes) -> None:
    """Refuse a Host that is not `name`, `address` or either with a port to 65535 (RFC 9110, 7.2)."""
    found = AUTHORITY.fullmatch(host)
    if not found or int(found[2] or 0) > 65535:
        raise BadMessageError(400, "bad_host", "the host is not a name or address with at most a port")


def uncommon_request_line(head: bytes) -> RequestLine:
    """Read a request line whose target is not simply a plain path, or say what is wrong with it."""
    found = ANY_REQUEST_LINE.match(head)
    if not found:
        raise BadMessageError(400, "bad_request_line", "the request line is not `method target version`")
    method, target, version, major, minor = found.groups()
    if not TOKEN.fullmatch(method):
        raise BadMessageError(400, "bad_method", "the method is not a token")
    if major != b"1" or minor not in {b"0", b"1"}:
        raise BadMessageError(505, "bad_version", f"{version.decode()} is not spoken here")
    check_method(method)
    onward, authority = origin_form(method, target)
    path = onward.partition(b"?")[0]
    return RequestLine(method, onward, path, minor == b"0", authority, found.end())


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Check a target; give it as it goes on (path with query, or `*`), and the authority it named or b""."""
    if not _VISIBLE.fullmatch(target):
        raise BadMessageError(400, "bad_target", "the target holds bytes that are not visible ascii")
    if b"#" in target:
        raise BadMessageError(400, "fragment_in_target", "the target has a fragment")
    onward, authority = _without_authority(method, target)
    check_path(onward.partition(b"?")[0])
    return onward, authority


def _without_authority(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    if target.startswith(b"/"):
        return target, b""
    if target == b"*":
        if method != b"OPTIONS":
            raise BadMessageError(400, "asterisk_target", "only options may ask for `*`")
        return target, b""
    found = ABSOLUTE_TARGET.fullmatch(target)
    if not found:
        raise BadMessageError(400, "bad_target", "the target is neither a path nor an http url")
    authority, rest = found[2], found[3] or b""
    if b"@" in authority:
        raise BadMessageError(400, "userinfo_in_target", "the target names a user")
    check_host(authority)
    if not rest and method == b"OPTIONS":  # RFC 9112 section 3.2.4
        return b"*", authority
    return rest if rest.startswith(b"/") else b"/" + rest, authority
