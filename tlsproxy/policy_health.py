"""The part of policy.py about upstreams that are down: how they are checked, and when they are left alone.

As there: values only, each with its reason; nothing is imported, opened or asked for the time. Sizes are
bytes, durations float seconds. All of it is off unless a route asks for it.
"""

from __future__ import annotations

# --- CHECKS -------------------------------------------------------------------------------------------------

# From the begin of one check to that of the next. HAProxy's `inter` is 2 s, nginx Plus has 5 s, Caddy 30 s: a
# person who waits for a device to boot shall not wait much longer because of us, and twelve small requests a
# minute are no load.
CHECK_INTERVAL_S = 5.0
# More than once in this time a check may not be asked for: it would be load.
CHECK_INTERVAL_LEAST_S = 0.1
# For one check, from connecting to the answer's status.
CHECK_TIMEOUT_S = 2.0
# So many failures in a row say "down", and so many passes in a row say "up" (HAProxy's `fall 3 rise 2`). One
# of each is what Caddy had, and its users' services flapped with each pause of a garbage collector (issue
# 6152).
CHECK_FALL = 3
CHECK_RISE = 2
# Of an answer so much is read, so that the service sees no broken connection, and no more.
CHECK_READ_BYTES = 65_536
# A worker takes an upstream for down for so many intervals after it was last told so: a supervisor that
# stands still locks nobody out.
CHECK_HOLDS = 3
CHECK_HOLDS_LEAST_S = 10.0

# --- BREAKERS -----------------------------------------------------------------------------------------------

# Failures in a row, in each worker, none older than this. Envoy takes 5 in a row; nginx takes 1 within 10 s,
# which is one unlucky request.
BREAKER_FAILURES = 5
BREAKER_WITHIN_S = 10.0
# Then one request is let through so often, until one is answered. nginx waits 10 s, Envoy 30 s: both have
# other servers to ask meanwhile, and a device has none.
BREAKER_DOWN_S = 5.0

# --- BOTH ---------------------------------------------------------------------------------------------------

# `Retry-After` is drawn from what is left up to so many times that: clients that were refused together shall
# not come back together.
RETRY_SPREAD = 1.0
# What workers say of their breakers is looked at this often; a change is told once.
LOOK_S = 1.0
