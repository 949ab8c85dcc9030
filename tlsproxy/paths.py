"""What a request path means: to us, and to the program behind us that may read it in another way.

Promises: `plain` gives the path that the most generous reader sees; `is_plain` says that there is nothing
to read in two ways, which is so for nearly all requests. Refuses to know: routes and requests; both ask
here.

Theory. A route is picked by the path's first segments, and the path goes on as it was sent, so that the
program behind us sees the bytes that were matched. The danger is a path that we read in one way and that
program in another: `/ui/../api` goes by the route of `/ui` and is answered as `/api`. Programs differ in
what they undo before they look: percent-encoding (`%2e%2e`), twice (`%252e`), backslashes (IIS), several
slashes, parameters (`/..;/` is `/..` to Tomcat), overlong UTF-8. So the request gate refuses every path
with a dot segment on the most generous reading (clients resolve these themselves, RFC 3986 section 5.2.4,
so honest ones never arrive), and routing refuses a path whose route depends on the reading.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from tlsproxy import policy

_READ_TWICE = re.compile(rb"[%;\\]|//|/\.")
_SLASHES = re.compile(rb"/{2,}")
_PARAMETERS = re.compile(rb";[^/]*+")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# An encoded ? or # ends the path of a program that decodes before it splits (CVE-2024-38474): a border to us.
_ENDS = bytes.maketrans(b"?#", b"//")
_DOT_SEGMENT = re.compile(rb"(?:^|/)\.\.?(?:/|\Z)")
# The dot, slash and backslash in two bytes, which UTF-8 forbids and old decoders take (RFC 3629 section
# 10).
_OVERLONG = ((b"\xc0\xae", b"."), (b"\xc0\xaf", b"/"), (b"\xc1\x9c", b"\\"))


class DeceptivePathError(ValueError):
    """A path is encoded in a way that no honest client needs; `code` names the way."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(code, words)
        self.code, self.words = code, words


def is_plain(path: bytes) -> bool:
    """Tell whether every reader sees this path alike."""
    return _READ_TWICE.search(path) is None


def plain(path: bytes) -> bytes:
    """Give the path that the most generous reader sees: decoded, without parameters, slashes merged.

    Dot segments are left where they are. Raises DeceptivePathError for a broken or endless encoding.
    """
    if _BROKEN_ESCAPE.search(path):
        raise DeceptivePathError("bad_escape", "a percent sign in the path is not followed by two hex digits")
    seen = _decoded(path).translate(_ENDS)
    for bytes_, meant in _OVERLONG:
        seen = seen.replace(bytes_, meant)
    return _SLASHES.sub(b"/", _PARAMETERS.sub(b"", seen.replace(b"\\", b"/")))


def check(path: bytes) -> None:
    """Refuse what must not reach a program that may read it otherwise: DeceptivePathError says why."""
    if is_plain(path):
        return
    if b"\\" in path:
        raise DeceptivePathError("backslash_in_path", "there is a backslash in the path")
    seen = plain(path)
    if b"\0" in seen:
        raise DeceptivePathError("nul_in_path", "there is an encoded nul in the path")
    if _DOT_SEGMENT.search(seen):
        raise DeceptivePathError("dot_segment", "there is a dot segment in the path")


def _decoded(path: bytes) -> bytes:
    """Undo percent-encoding until nothing changes, a bounded number of times."""
    for _ in range(policy.MAX_PATH_DECODINGS):
        before, path = path, unquote_to_bytes(path)
        if path == before:
            return path
    if unquote_to_bytes(path) != path:
        raise DeceptivePathError("deep_escape", "the path is encoded many times over")
    return path
