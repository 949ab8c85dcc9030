"""What people and programs are told about a running proxy: logs, and one status document.

    log      events to stderr: for a person on a terminal, JSON elsewhere
    status   the state of everything as one frozen value, and its text
    absence  a library kept from another one

Nothing here decides anything, and nothing secret passes through it.
"""

from __future__ import annotations
