"""Upstreams: the local services behind us, and the connections to them that are kept for the next exchange.

Promises: `pool` decides (pure), `connection` acts; a connection is lent to one exchange at a time.
Refuses to know HTTP: whoever borrowed a connection says whether it can be used again.
"""

from __future__ import annotations
