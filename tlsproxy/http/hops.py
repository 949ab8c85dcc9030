"""What a head says about this connection alone: Connection, TE, Upgrade and Expect (RFC 9110, 7.6.1 and 7.8).

Promises: these are read here and go no further; what of them concerns the next hop too is written anew
there. Refuses to know: fields that go end to end.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tlsproxy.http.fields import Role, may_be_nominated
from tlsproxy.http.grammar import TOKEN, BadMessageError, Field, members

# The values of all fields that have a role, in their order, by role; a list and not a dict, because to hash
# an enum costs more than all the rest of a lookup.
Found = list[list[bytes]]
_NO_VALUES: list[bytes] = []  # never changed: what `Found` has for a role that no field had
_ORIGIN = Role.ORIGIN  # head.py says why
_NOTHING_FOUND: Found = [_NO_VALUES] * len(Role)

NO_OPTIONS: frozenset[bytes] = frozenset()
# The everyday values, as one lookup instead of a split.
_EVERYDAY = {
    spelling: frozenset({spelling.lower()})
    for spelling in (b"keep-alive", b"Keep-Alive", b"close", b"Upgrade", b"upgrade")
}
# Options that speak for themselves; any other option is the name of a field.
_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})
# HTTP/2 is agreed on by ALPN, TLS before HTTP, HTTP by speaking it; a tunnel for them would go around the
# gate.
_NEVER_UPGRADED_TO = re.compile(rb"h2.*|http|tls", re.IGNORECASE)  # h2c-14 and the like: drafts


def connection_options(found: Found) -> frozenset[bytes]:
    """Read the Connection fields into options in lower case; refuse those that no sender may give."""
    values = found[Role.CONNECTION]
    if len(values) == 1 and (everyday := _EVERYDAY.get(values[0])):
        return everyday
    options = frozenset(member.lower() for member in members(values))
    for option in options:
        if not TOKEN.fullmatch(option):
            raise BadMessageError(400, "bad_connection_option", "a connection option is not a token")
        if not may_be_nominated(option):
            raise BadMessageError(
                400, "end_to_end_nominated", "connection names a field that goes end to end"
            )
    return options


def keeps_alive(options: frozenset[bytes], *, http10: bool) -> bool:
    """Tell whether the sender wants to go on with this connection (RFC 9112 section 9.3)."""
    return b"close" not in options and (not http10 or b"keep-alive" in options)


def without_nominated(fields: list[Field], options: frozenset[bytes]) -> list[Field]:
    """Leave out the fields that the connection options name."""
    names = options - _OPTIONS
    return [field for field in fields if field[0].lower() not in names] if names else fields


def upgrade_of(found: Found, options: frozenset[bytes]) -> bytes | None:
    """Give the one protocol that an Upgrade field names as sent, or None where it is to be ignored."""
    values = found[Role.UPGRADE]
    if not values or b"upgrade" not in options:
        return None
    offered = members(values)
    if len(offered) != 1:
        return None
    name, slash, version = offered[0].partition(b"/")
    if not TOKEN.fullmatch(name) or (slash and not TOKEN.fullmatch(version)):
        return None
    return None if _NEVER_UPGRADED_TO.fullmatch(name) else offered[0]


def expects_continue(found: Found) -> bool:
    """Tell whether `100-continue` is expected; 417 for any other expectation (RFC 9110 section 10.1.1)."""
    expectations = {member.lower() for member in members(found[Role.EXPECT])}
    if expectations - {b"100-continue"}:
        raise BadMessageError(417, "unknown_expectation", "only the expectation `100-continue` can be met")
    return bool(expectations)


def takes_trailers(found: Found) -> bool:
    """Tell whether TE says `trailers`: then the next hop may be told so (RFC 9110 section 10.1.4)."""
    return b"trailers" in {member.lower() for member in members(found[Role.TE])}


def sort_by_role(
    fields: list[Field], known: dict[bytes, Role], ask: Callable[[bytes], Role]
) -> tuple[list[Field], Found, list[Field]]:
    """Part fields into those that go end to end, values of those with a role, those that tell an origin.

    `known` has the roles of everyday spellings, `ask` finds that of any other; this is the hot loop.
    """
    onward: list[Field] = []
    found = _NOTHING_FOUND.copy()
    origin: list[Field] = []
    for field in fields:
        role = known.get(field[0])
        if role is None:
            role = ask(field[0])
        if not role:
            onward.append(field)
        elif role is _ORIGIN:
            origin.append(field)
        elif found[role]:
            found[role].append(field[1])
        else:
            found[role] = [field[1]]
    return onward, found, origin
