"""What people and programs are told about a running proxy: logs, metrics, and one status document.

    log         events to stderr: for a person on a terminal, JSON elsewhere
    outlet      where lines go, which nobody waits for
    access      a line for each exchange, where that is wanted; allowance: how many
    audit       who changed what, and what came of it
    counters    a worker's numbers; labels: what they may be told apart by
    metrics     what is counted, and how counts of many are added; exposition: how Prometheus reads it
    status      the state of everything as one frozen value, and its text
    expiry      on which step a certificate stands as its life ends, and when that is told again
    absence     a library kept from another one

Nothing here decides anything, and nothing secret passes through it.
"""

from __future__ import annotations
