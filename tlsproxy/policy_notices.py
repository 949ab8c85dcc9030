"""The part of policy.py about what people are told of unasked: expiry, and how a hook or webhook is tried.

As there: values only, each with its reason; nothing is imported, opened or asked for the time. Sizes are
bytes, durations float seconds.
"""

from __future__ import annotations

# --- EXPIRY -------------------------------------------------------------------------------------------------

# Shares of a certificate's life that are left when it is told of (observe/expiry.py). Renewal is due at a
# third; three tenths leave it some tries before a person is bothered: 3 days of 90, 5 hours of six days.
NOTICE_SHARE = 0.3
WARNING_SHARE = 0.2
URGENT_SHARE = 0.1
# A step is told again when as much has gone by as a quarter of what is left: of a life of 90 days every five
# days first, daily at the end.
AGAIN_SHARE = 0.25
# But not more often than each day, or, where a day is much of a life, each hour; and each 30 days at least.
AGAIN_LEAST_S = 86_400.0
AGAIN_SHORT_S = 3_600.0
AGAIN_MOST_S = 2_592_000.0
# So many certificates are told of in one turn of the caretaker, the nearest to their end first; the others a
# turn later each: a store of thousands from one day must not push everything else out of the log.
TOLD_AT_ONCE = 20
# And so many, the worst, stand in the answer to who asks for health.
SHOWN = 20
# What was told is kept for so many certificates, those that end first: 100 bytes each in a file.
REMEMBERED = 5_000
# Of a certificate's names so many stand in an event: its bundle says the others.
NAMES_TOLD = 20
