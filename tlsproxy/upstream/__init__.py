"""Upstreams: the local services behind us, and the connections to them that are kept for the next exchange.

Promises: `pool`, `breaker` and `streak` decide (pure), `connection`, `guard`, `room` and `probe` act; a
connection is lent to one exchange at a time.

    pool       which connection is lent            connection   opens, lends and keeps them
    room       how many there may be at once
    guard      lets requests through, or says when to come again, by two witnesses:
    probe      a check of our own                  streak       up or down, by checks that pass or fail
    breaker    up or down, by clients' requests

Refuses to know HTTP (but for a check, which is a request of our own): whoever borrowed a connection says
whether it can be used again.
"""

from __future__ import annotations
