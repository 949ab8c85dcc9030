"""The part of policy.py about answers for ACME authorities. As there: values only, each with its reason."""

from __future__ import annotations

from datetime import timedelta

# Answers that are given at a time: a certificate has at most a hundred names at public authorities.
ANSWERS = 200
# Until each worker has said that it gives them; one that hangs is found out by its heart a little later.
ANSWERS_S = 10.0
# An answer stands as long as an order may take (certstore's ANSWERED); whoever dies takes none back.
ANSWER_MOST_S = 3_600.0

# The keeper looks so often, at the longest: clocks are set, disks are mended.
TURN_S = 60.0
# RFC 9773 section 4.3.3: where an authority suggests nothing, or can't be asked now.
ASK_AGAIN = timedelta(hours=6)
# An authority is believed for a week (certstore's LONGEST_WAIT): what is further off is a clock's fault.
LONGEST_PAUSE = timedelta(days=8)
# Whatever a certificate that has just come looks like, the next is not asked for at once.
SOONEST_AGAIN = timedelta(hours=1)
SOONEST_SHARE = 0.1
# An authority that won't listen for longer than this, and has a fallback, is passed over.
PATIENCE = timedelta(hours=1)

# One question and its answer, at a server of the site.
DNS_S = 15.0
# Nobody is to remember a proof; and how many aliases lead from one name to another at the longest.
DNS_TTL_S = 60
DNS_ALIASES = 8

# An answer of an acme-dns server has some 60 bytes.
ACME_DNS_BYTES = 4_096

# Before an authority is asked: one look-up, all of them, and how many go at a time. A person waits.
LOOK_S = 5.0
LOOKS_S = 12.0
LOOKS_AT_ONCE = 16

# One call of the command that sets records: a DNS provider's API, and the time until all its servers know.
DNS_HOOK_S = 120.0
# Beyond a call's own time, until nobody waits for its answer: the helper may have others to run first.
DNS_HOOK_QUEUE_S = 300.0
# Calls that wait: a certificate has at most a hundred names, and each record comes and goes.
DNS_HOOK_CALLS = 400
