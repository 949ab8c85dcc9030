"""The TLS front end of a device: it terminates TLS before the device's own HTTP services.

certstore (beside this package) owns the disk and the certificate's life; tlsproxy owns the sockets.

The life of a connection, and where to read on:

1. net/accept.py accepts it, within its limits
2. tls/clienthello.py reads the ClientHello: bytes to values (plain HTTP is recognised here, and redirected)
3. tls/selector.py picks the row for that server name from the active generation's table
4. tls/handshake.py makes the handshake with that row's context (tls/engines/), under a deadline
5. http/head.py is the request gate: only what has one meaning goes on
6. routing/ picks the upstream by path; upstream/ lends a connection, pooled or new
7. forward/exchange.py carries one request and its response; forward/tunnel.py both ways after an upgrade
8. net/sweeper.py ends what is overdue, and tells an exchange that its client is gone

Whoever waits for bytes meanwhile waits by readiness.py.

All of that happens in worker processes (workers/process.py); the supervisor touches no client's bytes.

Around it: app.py composes the supervisor; workers/crew.py keeps the workers; reload.py executes us anew;
signals.py lets no signal get lost on the way; privilege/ gives up the power that isn't needed; config/ says
what was asked for; policy.py holds every limit with its reason; control/ answers on a UNIX socket what cli/
asks; observe/ logs, counts and describes, and metering.py joins what all count; ladder.py tells of
certificates that end, and notify/ hands such news to a command or a webhook of the device's maker;
fetching/ gets what a certificate points to, without being led astray;
upstreams.py checks the services behind us, and upstreamterms.py says on what those are believed that speak
TLS; doctor/ looks at files, servers and ourselves, and explains;
support/ collects what somebody far away needs to know.
"""

from __future__ import annotations

__version__ = "0.1.0"
