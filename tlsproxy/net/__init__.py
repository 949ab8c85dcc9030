"""The only room with plain sockets: listening, accepting, dialling, reading, writing, ending.

Promises: what leaves this room is a byte stream, a list of listening sockets, or a deadline kept.
Refuses to know: TLS, HTTP, certificates, and why anybody wants the bytes.
"""

from __future__ import annotations
