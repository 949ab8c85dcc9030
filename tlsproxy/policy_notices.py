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

# --- HOOKS --------------------------------------------------------------------------------------------------

# One try of a command or webhook, unless configured: a mail is handed over within seconds, and a collector
# over a mobile link answers within ten.
TRY_S = 30.0
# Of a hook's output so much is logged; what is beyond is read and thrown away.
OUTPUT_BYTES = 2_048
# Waits between tries: at random up to twice as long each time (full jitter), so that a fleet of devices
# doesn't come back in step to a collector that was down; a day is tried in some 50 times.
RETRY_FIRST_S = 2.0
RETRY_MOST_S = 3_600.0
GIVE_UP_S = 86_400.0
# What was killed has ended within milliseconds; else it can't be killed, and all other ways wait meanwhile.
KILL_S = 0.5
# Letters that wait for one way; beyond that the oldest is dropped, and told.
LETTERS_WAITING = 100
# One message between supervisor and helper: a receipt with its findings has a few kilobytes.
LETTER_BYTES = 65_536
# At the end of the proxy, what is being tried may end within this.
HELPER_END_S = 3.0
# A helper that died is started again after this.
HELPER_RETRY_S = 10.0
# The rung is looked at this often.
RUNG_LOOK_S = 2.0
