"""The part of policy.py about what is remembered of clients, to foretell what a change would do to them.

As there: values only, each with its reason. Names of our own and numbers are remembered, and fingerprints of
software; nothing of a client.
"""

from __future__ import annotations

# Of the names that certificates here cover: a device has a few, a wildcard any number. 40 KB a worker.
NAMES_COUNTED = 512
# Kinds of software that were refused, by why: a site has some dozens, a stranger's scanner any number. 30 KB
# a worker.
REFUSED_COUNTED = 256
# Hosts whose responses carry Strict-Transport-Security: a device has one or two.
STRICT_NAMES = 64
# In one line for a person; the rest is told as a number.
NAMES_TOLD = 5
