"""The part of policy.py about the service on its machine: what is done when the system is short of something.

As there: values only, each with its reason; nothing is imported, opened or asked for the time. Sizes are
bytes, durations float seconds.
"""

from __future__ import annotations

# A thread that could not be had is asked for again after this: a limit of processes is free again when any
# one ends, and who waits here is a start that nobody is served by.
THREAD_RETRY_S = 0.2
# A retired worker that can't build what is served from now on says within this that nobody greets there any
# more: closing some sockets takes a turn of its loop.
TURN_AWAY_S = 1.0
