"""Every limit, timeout, version, cipher and default, each with its reason: the one place.

A number that can be argued about stands here, with its precedent or measurement beside it; a number of a protocol stands
beside its RFC, where it is used. What a user may change is a key of the configuration, whose default is taken from here.
Values only: nothing here imports anything of ours, opens anything or reads a clock. Sizes are bytes, durations float seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# --- TLS ------------------------------------------------------------------------------------------------------------


class Profile(StrEnum):
    """Which clients a listener speaks to, in Mozilla's words (Server Side TLS, version 5.7)."""

    MODERN = "modern"  # TLS 1.3 only
    INTERMEDIATE = "intermediate"  # TLS 1.2 with ECDHE and AEAD, and 1.3


@dataclass(frozen=True, slots=True)
class TLSPolicy:
    """How TLS is spoken: part of what a context belongs to, so it must stay a value that can be compared and hashed.

    alpn: the protocols offered, the preferred one first, as they stand on the wire (RFC 7301).
    """

    profile: Profile = Profile.INTERMEDIATE
    alpn: tuple[bytes, ...] = (b"http/1.1",)


# AES-128-GCM first: it takes SHA-256 all through the key schedule (SHA-384 with AES-256 costs a new connection about a
# twentieth more, measured), and 128 bits are enough (Mozilla, BSI TR-02102-2). All are ECDHE with AEAD: no CBC, no static RSA.
TLS12_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
TLS13_SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

# Mozilla's list, the hybrid against recorded traffic first: Chromium and Firefox negotiate it (tried). No X448, no P-521:
# few clients want them, and they cost a server several times what X25519 costs.
GROUPS = ("X25519MLKEM768", "X25519", "P-256", "P-384")

# One TLS 1.3 session ticket: browsers resume from one, and a second costs every new connection bytes and time.
TICKETS = 1

# A ClientHello with hybrid key shares is about 1,800 bytes, with Encrypted Client Hello under 4 KiB. 64 KiB is what Go's and
# rustls' message limit allows; more is nobody's.
MAX_HELLO_BYTES = 65_536
# Clients that split a hello on purpose (Chromium's and OpenSSL's fragmentation) make a handful of records. The limit keeps
# a hello of one-byte records from costing a walk over thousands of them for each segment.
MAX_HELLO_RECORDS = 64

# From accept to the end of the handshake. nginx allows 60 s, Go's examples 10 s; three round trips over a satellite link with
# a lost segment or two need less than five.
HANDSHAKE_S = 10.0

# One write into the engine: eight full records. Large enough that the cost of a call doesn't show, small enough that a
# 50 MB body never stands in memory twice.
TLS_WRITE_BYTES = 131_072
# One read from a client's socket: four full records, and what a Linux socket usually holds after one wake-up.
TLS_READ_BYTES = 65_536
# What our engine may owe a client that doesn't read (answers to its key updates), beyond data: more is an attack.
MAX_OWED_BYTES = 65_536

# --- CLIENT LIMITS --------------------------------------------------------------------------------------------------

# A stream that never has to wait still lets the others run once per so many bytes: about 1.5 ms of TLS work.
YIELD_BYTES = 1_048_576

# --- HTTP -----------------------------------------------------------------------------------------------------------

# --- UPSTREAM -------------------------------------------------------------------------------------------------------

# --- WATCHING -------------------------------------------------------------------------------------------------------

# --- IDENTITY -------------------------------------------------------------------------------------------------------
