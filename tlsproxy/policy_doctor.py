"""The part of policy.py about the doctor, who looks at servers and at the device itself.

As there: values only, each with its reason; nothing is imported, opened or asked for the time. Sizes are
bytes, durations float seconds.
"""

from __future__ import annotations

# To connect, and from then to the end of the handshake, each: browsers wait longer, people don't.
CONNECT_S = 5.0
HANDSHAKE_S = 5.0
# Of a server's addresses so many are looked at; names of large services have eight.
ADDRESSES = 8
# A port of this machine answers at once, or something is wrong.
OWN_PORT_S = 2.0
# What a server sends in a handshake: its chain, which OpenSSL takes up to 100 KB of, and some for the rest.
HANDSHAKE_BYTES = 262_144
READ_BYTES = 16_384
# Below this a full log or an upload may leave no room for the next certificate, which takes 8 KB with all of
# its records; a store of a hundred generations takes 2 MB.
FREE_BYTES = 67_108_864
FREE_FILES = 1_000
# Routes whose services are asked whether they are there, and listeners that are looked at.
LOOKED_AT = 50
