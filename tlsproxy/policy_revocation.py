"""The part of policy.py about whether our own certificates are revoked, and about staples.

As there: values only, each with its reason. Sizes are bytes, durations float seconds.
"""

from __future__ import annotations

from datetime import timedelta

# A device has two or three certificates that an authority answers for; those nearest to their end are left
# out beyond that. 4 MB at most, in each worker and in one message to it.
WATCHED = 256
# A responder that is there answers within a second; nobody waits for it.
ASK_S = 15.0
# Of the places that one certificate names; one is usual.
PLACES_TRIED = 2
# Answers live for a week, most; who is asked at half of it gives the next in time, whatever is down meanwhile
# (RFC 5019 section 6 wants no more often than the answer says). Some, of our own tests too, live for minutes.
LEAST_PAUSE = timedelta(minutes=1)
# An alarm that comes after days is none; and whoever asks daily is no burden: clients ask at each visit.
REVOCATION_S = 86_400.0
# After a failure, doubled each time: a device that is switched on offline finds its network within a minute,
# and a responder that is down for a night is asked some twelve times.
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
# By how much of a pause it may be longer: devices that were switched on together must not ask together.
JITTER = 0.1
# So often in a row nobody answers before it is told: some minutes, so not each time that a device starts
# before its network does.
FAILURES_TOLD = 3
# How many are asked at a time.
ASKED_AT_ONCE = 4
# And in one turn: what came is told, and heeded, after each, and each may take a minute.
ASKED_IN_A_TURN = 8
# Findings that health shows of many.
SHOWN = 20
# Certificates that are looked into, of many that are new, in one turn: 0.3 ms each.
LOOKED_INTO = 200
# How often it is looked whether something is due: certificates come and go, and clocks are set.
TURN_S = 60.0
