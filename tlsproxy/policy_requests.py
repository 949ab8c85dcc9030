"""The part of policy.py about certificate requests and the keys that wait with them.

As there: values only, each with its reason. How many may wait, and how long, certstore itself decides
(certstore/requesting.py), since it can be used alone.
"""

from __future__ import annotations

# Who asks for a request in a device's first seconds is kept waiting so long for the kernel's random
# generator; beyond it he is told. A board without a hardware generator takes up to a minute or two after a
# cold start.
RANDOM_S = 30.0
# Without a proxy the command itself waits, and looks so often.
RANDOM_POLL_S = 0.2

# --- names that the network knows us by (discovery.py) ---
# A resolver that is there answers within a second; what takes longer is told as silence.
LOOKUP_S = 2.0
# Two rounds of them, reverse and forward, and some to spare.
DISCOVERY_S = 5.0
# Of addresses and of names so many are asked about: a device has a few, and a thread waits for each.
ADDRESSES_ASKED = 16
NAMES_ASKED = 16
# Search domains that are taken: glibc had six for decades, and the first ones count.
DOMAINS_TAKEN = 4
