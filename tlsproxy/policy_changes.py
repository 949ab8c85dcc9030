"""The part of policy.py about changes of certificates: connections that end with one, and their confirmation.

As there: values only, each with its reason. Sizes are bytes, durations float seconds.
"""

from __future__ import annotations

# A renewal ends nothing. After the loss of a key (a revocation, a factory reset) what was made with the
# old certificate ends: an answer is done in a second, an upload over a slow line isn't, and may have
# this. Who stole a key gains little by the rest of an exchange; a tunnel, which might go on for days, is
# closed at once. nginx's old workers have no bound here, Envoy's drain has 600 s.
END_CONNECTIONS_S = 30.0

# --- CONFIRMATION OVER THE NETWORK --------------------------------------------------------------------------

# A word has 128 bits, 32 hex digits (guessing it at a million a second takes longer than the world is old);
# a client may put a blank or a line's end behind it.
WORD_RANDOM_BYTES = 16
WORD_BYTES = 64
# Whoever guesses is slowed down all the same, for the supervisor's sake: for each address a worker passes on
# so many at once, and one in two seconds from then on; a person's browser needs one. Each address by itself,
# so that one who guesses keeps nobody else from confirming; the last addresses are remembered.
CONFIRM_BURST = 10.0
CONFIRM_PER_S = 0.5
CONFIRM_ADDRESSES = 256
# And so many for all of them together: a wrong word costs the supervisor 50 us.
CONFIRM_BURST_ALL = 100.0
CONFIRM_PER_S_ALL = 20.0
# The supervisor writes a confirmation down before it answers (10 ms here, seconds on a busy card), behind
# whatever change is under way.
CONFIRM_PATIENCE_S = 20.0
# So many may wait for it in the supervisor.
CONFIRM_WAITING = 16
# Whose answer got lost asks again: so many of the last confirmed ones are known still.
CONFIRM_REMEMBERED = 16
