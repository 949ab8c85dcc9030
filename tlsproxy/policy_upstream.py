"""What is asked of upstreams that speak TLS, and what they may cost; each number with its reason."""

from __future__ import annotations

from typing import Final

__all__ = ["ALPN", "MOST_FILE_BYTES", "QUIET_READS", "SESSION_KEEP_S"]

# Upstreams speak HTTP/1.1 here; one that has only others says so by an alert (RFC 7301 section 3.2).
ALPN: Final = ("http/1.1",)
# A resumed session isn't verified again, so one that is older isn't taken: what has expired, or was revoked
# by another certificate, is noticed within this time also where connections come and go without a pause.
SESSION_KEEP_S: Final = 3_600.0
# A service sends a few tickets, some 250 bytes each, which one read has; one that sends on and on would hold
# up the worker, and every client of it, in the look whether its connection is quiet.
QUIET_READS: Final = 4
# The system's list of roots has 220 KB; whoever names a log file by mistake shall be told so.
MOST_FILE_BYTES: Final = 8 << 20
