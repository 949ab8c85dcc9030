"""Fetching: a small file that a certificate points to, from wherever it says, without being led astray.

    limits = Limits(size=65_536, seconds=5.0, redirects=2)
    content = await fetch("http://ca.example/issuer.cer", limits, allow=())

    destination     which URLs and addresses may be asked (pure)
    errand          resolves, checks, connects, asks and reads

Promises: plain http, GET or one POST; over within the limits, whatever the server does; never to an address
that isn't public, unless a network of `allow` holds it. Gives the bytes, or raises FetchError with why not.
Refuses to know what the bytes are: the examiner looks into them.
"""

from __future__ import annotations

from tlsproxy.fetching.destination import Network
from tlsproxy.fetching.errand import FetchError, Limits, Post, fetch

__all__ = ["FetchError", "Limits", "Network", "Post", "fetch"]
