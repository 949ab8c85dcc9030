"""Forwarding: where sockets, HTTP values, routes and upstreams are joined.

Promises: `connection` serves one client from its first byte to its last, `exchange` one request with its
response, `tunnel` carries bytes after an upgrade; `site` says what all of them are given, and
`dialling` opens what leads to an upstream. Refuses to know TLS and certificates: a client is a byte stream
with a few facts.
"""

from __future__ import annotations
