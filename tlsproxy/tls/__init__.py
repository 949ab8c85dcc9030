"""The TLS front: from a client's first byte to a stream of plain bytes.

clienthello.py reads the hello (pure), selector.py picks the context for it (pure), engines/ speak TLS without
touching a socket, handshake.py joins the three on one, and stream.py is what comes out. contexts.py keeps
contexts over generations; gate.py tries a bundle out in memory before it may be served. outward.py is the
other way: TLS towards services behind us.
"""

from __future__ import annotations
