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
