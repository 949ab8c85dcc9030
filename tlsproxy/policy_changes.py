"""The part of policy.py about changes of certificates: how connections of a key that must go are ended."""

from __future__ import annotations

from typing import Final

# A renewal ends nothing. After the loss of a key (a revocation, a factory reset) what was made with the
# old certificate ends: an answer is done in a second, an upload over a slow line isn't, and may have
# this. Who stole a key gains little by the rest of an exchange; a tunnel, which might go on for days, is
# closed at once. nginx's old workers have no bound here, Envoy's drain has 600 s.
END_CONNECTIONS_S: Final = 30.0
