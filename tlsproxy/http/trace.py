"""W3C Trace Context: one id by which a request is found in the logs of everybody who had it.

Promises: exactly one valid `traceparent` goes on. One that came and is valid goes on as it is, with its
`tracestate`; where there is none, or none that is valid (two of them aren't), both are dropped and a new
trace is begun (W3C Recommendation Trace Context, sections 3.2.2 and 4.3).

Theory. Whoever sends a `traceparent` chooses the id under which we log the request: it is for finding
things, never for telling who somebody is, and its grammar (hex digits) leaves nothing that could forge a
line. It also may say `sampled`, which makes services behind us record more (section 7, denial of service).
A stranger gains nothing by that: a trace that we begin says so as well, because OpenTelemetry's usual
sampler (parentbased_always_on) would record nothing below a parent that doesn't, and a service that samples
for itself does so whatever we say. We make no span, so the parent id is passed on and not replaced: a span
that nobody has recorded would tear the tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tlsproxy.http.grammar import Field

__all__ = ["continue_trace"]

# Version 00 is exactly this long; a later one may have more behind a hyphen (section 3.2.4). ff is none, nor
# are ids of zeros.
_VALID = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}((?:-[\x20-\x7e]*)?)"
)
_NAMES = (b"traceparent", b"tracestate")


def continue_trace(fields: list[Field], random: Callable[[int], bytes]) -> bytes:
    """Give the trace id of a request, after seeing to it that exactly one valid context is in `fields`.

    `random` gives so many random bytes.
    """
    parents, has_state = [], False
    for name, value in fields:
        size = len(name)  # cheaper to compare than every name in lower case
        if size == 11 and name.lower() == b"traceparent":
            parents.append(value)
        elif size == 10 and name.lower() == b"tracestate":
            has_state = True
    if len(parents) == 1 and (found := _VALID.fullmatch(parents[0])) is not None:
        version, trace, rest = found.groups()
        if not (rest and version == b"00"):
            return trace
    if parents or has_state:
        fields[:] = [field for field in fields if field[0].lower() not in _NAMES]
    ids = random(24).hex().encode("ascii")
    fields.append((b"traceparent", b"00-%b-%b-01" % (ids[:32], ids[32:])))
    return ids[:32]
