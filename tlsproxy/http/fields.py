"""What the proxy has to know about a header field by its name alone.

Promises: every name has one role; a name that we don't know is PLAIN and goes through untouched. Refuses to
know values.

Theory. Programs behind us often see fields as CGI variables (WSGI, PHP, old device firmware): there
`X_Forwarded_For` and `X-Forwarded-For` are the same variable, and the one that we dropped comes back. nginx
and Apache therefore drop every name with an underscore, and break clients that send `api_key`. Here a name
is a LOOKALIKE, and dropped, only where it becomes the name of a field that the proxy itself reads or writes
once all its punctuation is taken for hyphens.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import chain


class Role(IntEnum):
    """What a field is to the proxy; PLAIN is 0, so that the hot loop can ask by truth."""

    PLAIN = 0  # end to end
    HOST = 1
    LENGTH = 2  # Content-Length
    CODING = 3  # Transfer-Encoding
    CONNECTION = 4
    UPGRADE = 5
    EXPECT = 6
    TE = 7
    HOP = 8  # for this connection only, and nothing that we heed
    ORIGIN = 9  # says where a request came from: believed only from a trusted peer
    OURS = 10  # only the proxy says it: Tlsproxy-*, and who a client is
    LOOKALIKE = 11  # would be one of the above to a CGI-like reader


_ROLES: dict[bytes, Role] = {
    b"host": Role.HOST,
    b"content-length": Role.LENGTH,
    b"transfer-encoding": Role.CODING,
    b"connection": Role.CONNECTION,
    b"upgrade": Role.UPGRADE,
    b"expect": Role.EXPECT,
    b"te": Role.TE,
    # RFC 9110 sections 7.6.1, 11.7; RFC 7540 section 3.2.1 (h2c is never spoken to an upstream).
    b"keep-alive": Role.HOP,
    b"proxy-connection": Role.HOP,
    b"proxy-authorization": Role.HOP,
    b"proxy-authenticate": Role.HOP,
    b"http2-settings": Role.HOP,
    # A CGI program takes it for the variable HTTP_PROXY (CVE-2016-5385 and others); no client sends it
    # honestly.
    b"proxy": Role.HOP,
    b"forwarded": Role.ORIGIN,
    b"x-real-ip": Role.ORIGIN,
    b"x-client-ip": Role.ORIGIN,
    # What else programs ask for a client's address, first of all PHP's much-copied snippet (and Rails:
    # Client-IP); the last two are what large content networks write.
    b"client-ip": Role.ORIGIN,
    b"x-cluster-client-ip": Role.ORIGIN,
    b"x-forwarded": Role.ORIGIN,
    b"forwarded-for": Role.ORIGIN,
    b"true-client-ip": Role.ORIGIN,
    b"cf-connecting-ip": Role.ORIGIN,
    # Frameworks route by these instead of by the path that was matched (IIS, Symfony: CVE-2018-14773).
    b"x-original-url": Role.ORIGIN,
    b"x-rewrite-url": Role.ORIGIN,
    # RFC 9440 section 2.4: a client must not say who it is by itself.
    b"client-cert": Role.OURS,
    b"client-cert-chain": Role.OURS,
}

# Everyday names whose role is PLAIN, so that the hot loop needs one lookup and no lower().
_EVERYDAY = b"""
accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-origin
access-control-request-headers access-control-request-method age allow authorization cache-control
content-disposition content-encoding content-language content-range content-security-policy content-type
cookie date dnt etag expires if-match if-modified-since if-none-match if-range if-unmodified-since
last-event-id last-modified link location origin pragma priority range referer retry-after sec-ch-ua
sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc
sec-websocket-accept sec-websocket-extensions sec-websocket-key sec-websocket-protocol
sec-websocket-version server set-cookie strict-transport-security trailer upgrade-insecure-requests
user-agent vary via www-authenticate x-accel-buffering x-api-key x-content-type-options x-csrf-token
x-frame-options x-powered-by x-request-id x-requested-with
""".split()

# A connection option may name only fields that are meant for this connection (RFC 9110 section 7.6.1). To
# name one of these is a way of having a proxy remove what the program behind it relies upon; so is naming
# any Role.ORIGIN.
_NEVER_NOMINATED = frozenset(
    b"""
host content-length content-type content-encoding content-range authorization cookie set-cookie expect range
if-match if-none-match if-modified-since if-unmodified-since if-range cache-control date location origin
vary www-authenticate strict-transport-security sec-websocket-key sec-websocket-version
sec-websocket-accept
""".split()
)

# Fields that must not come as trailers (RFC 9110 section 6.5.1): framing, routing, authentication, and how
# to read the body.
_NEVER_TRAILERS = _NEVER_NOMINATED | frozenset(
    b"trailer max-forwards accept pragma age expires retry-after warning allow".split()
)

_RESPONSE_ROLES = frozenset({Role.LENGTH, Role.CODING, Role.CONNECTION, Role.UPGRADE, Role.HOP})
_OURS = (b"tlsproxy-", b"x-client-cert")
_ORIGIN = b"x-forwarded-"
_FOLD = bytes(byte if chr(byte).isascii() and chr(byte).isalnum() else ord("-") for byte in range(256))


def role_of(name: bytes) -> Role:
    """Find the role of a field name in any case of letters."""
    lower = name.lower()
    role = _plain_spelling(lower)
    if role is Role.PLAIN and (folded := lower.translate(_FOLD)) != lower and _plain_spelling(folded):
        return Role.LOOKALIKE
    return role


def response_role_of(name: bytes) -> Role:
    """Find the role of a field name in a response, where only framing and hop-by-hop fields have one."""
    role = _ROLES.get(name.lower(), Role.PLAIN)
    return role if role in _RESPONSE_ROLES else Role.PLAIN


def may_be_nominated(option: bytes) -> bool:
    """Tell whether a connection option in lower case may name a field of that name."""
    return option not in _NEVER_NOMINATED and _plain_spelling(option) not in {Role.ORIGIN, Role.OURS}


def may_be_trailer(name: bytes) -> bool:
    """Tell whether a field may be passed on after a body."""
    return role_of(name) is Role.PLAIN and name.lower() not in _NEVER_TRAILERS


def _plain_spelling(lower: bytes) -> Role:
    role = _ROLES.get(lower)
    if role is not None:
        return role
    if lower.startswith(_OURS):
        return Role.OURS
    return Role.ORIGIN if lower.startswith(_ORIGIN) else Role.PLAIN


# Spellings met every day, as browsers write them (Title-Case) and as HTTP libraries do (lower case).
# Anything else is asked of role_of: nothing here grows with what clients send.
KNOWN: dict[bytes, Role] = {
    spelling: role_of(name) for name in chain(_EVERYDAY, _ROLES) for spelling in (name, name.title())
} | {b"TE": Role.TE, b"DNT": Role.PLAIN, b"ETag": Role.PLAIN, b"WWW-Authenticate": Role.PLAIN}
KNOWN |= {
    b"Sec-WebSocket-" + part: Role.PLAIN
    for part in (b"Key", b"Version", b"Extensions", b"Protocol", b"Accept")
}
KNOWN_IN_RESPONSES: dict[bytes, Role] = {spelling: response_role_of(spelling) for spelling in KNOWN}
