"""The part of policy.py about what is remembered of clients, to foretell what a certificate would change.

As there: values only, each with its reason. Names of our own and numbers are remembered, nothing of a client.
"""

from __future__ import annotations

# Of the names that certificates here cover: a device has a few, a wildcard any number. 40 KB a worker.
NAMES_COUNTED = 512
# Hosts whose responses carry Strict-Transport-Security: a device has one or two.
STRICT_NAMES = 64
# In one line for a person; the rest is told as a number.
NAMES_TOLD = 5
