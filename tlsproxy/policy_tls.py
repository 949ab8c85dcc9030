"""How TLS is spoken: profiles, versions, ciphers, groups, tickets, and the floor that none goes below.

Promises: every policy that can be made here gives forward secrecy and authenticated encryption, whoever
configures it: `custom` chooses among what stands in the tables below, and nothing else is in them. Each entry
has its reason beside it (policy_reasons.py says why the others aren't here). Values only, as in policy.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType
from typing import Final, Literal

__all__ = [
    "FITS",
    "GROUPS",
    "GROUP_NAMES",
    "HYBRID_GROUPS",
    "PROFILES",
    "TICKETS",
    "TICKET_S",
    "TLS12_CIPHERS",
    "TLS13_SUITES",
    "Profile",
    "TLSPolicy",
    "canonical_group",
    "group_list",
    "is_hybrid",
]


class Profile(StrEnum):
    """Which clients a listener speaks to, in Mozilla's words where it has any (Server Side TLS 5.7)."""

    MODERN = "modern"  # TLS 1.3 only
    INTERMEDIATE = "intermediate"  # TLS 1.2 with ECDHE and AEAD, and 1.3
    PQ_ONLY = "pq-only"  # TLS 1.3 with a hybrid post-quantum key exchange, or not at all
    CUSTOM = "custom"  # what the configuration says, above the floor


# AES-128-GCM first: it takes SHA-256 instead of SHA-384 all through the key schedule, and 128 bits are
# enough (Mozilla, BSI TR-02102-2). ChaCha20 comes first for a client that puts it first (a processor without
# AES). All are ECDHE with AEAD: no CBC, no static RSA.
TLS12_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
TLS13_SUITES: Final = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)

# A key exchange that is safe as long as one of its halves is (RFC 9794): against traffic that is recorded
# today and opened by a quantum computer later. Chromium and Firefox negotiate the first (tried); the second
# is for who must keep to NIST's curves.
HYBRID_GROUPS: Final = ("X25519MLKEM768", "SecP256r1MLKEM768")
# Mozilla's list behind them. No X448, no P-521: few clients want them, and they cost a server several times
# what X25519 costs.
GROUPS: Final = (*HYBRID_GROUPS, "X25519", "P-256", "P-384")

# What else `custom` may name: slower, or wanted by a few, and no weaker.
_MORE_GROUPS: Final = ("SecP384r1MLKEM1024", "X448", "P-521")
GROUP_NAMES: Final = MappingProxyType(
    {name.lower(): name for name in (*GROUPS, *_MORE_GROUPS)}
    | {"secp256r1": "P-256", "prime256v1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
)

# One TLS 1.3 session ticket: browsers resume from one, and a second costs every new connection bytes and
# time.
TICKETS: Final = 1
# Whoever gets hold of a context's ticket key can open the TLS 1.2 sessions that were resumed by its tickets,
# and those that the tickets came from. A key that is gone after half a day can't be got hold of. OpenSSL by
# itself never changes it; ours also change with each certificate.
TICKET_S: Final = 43_200.0


FITS: Final = ("none", str(Profile.INTERMEDIATE), str(Profile.MODERN), str(Profile.PQ_ONLY))
"""The strictest profile by which a client could still be spoken to: one that fits it fits those before."""


@dataclass(frozen=True, slots=True)
class TLSPolicy:
    """How TLS is spoken: part of what a context belongs to, so a value that can be compared and hashed.

    minimum: the oldest version. ciphers: of TLS 1.2, by OpenSSL's names; suites: of TLS 1.3. groups: for key
    exchange. Each the preferred one first. tickets: whether sessions may be resumed. strict_names: whether
    who asks for a name that isn't ours is refused, instead of served the default. alpn: the protocols
    offered, as they stand on the wire (RFC 7301).
    """

    profile: Profile = Profile.INTERMEDIATE
    minimum: Literal["1.2", "1.3"] = "1.2"
    ciphers: tuple[str, ...] = TLS12_CIPHERS
    suites: tuple[str, ...] = TLS13_SUITES
    groups: tuple[str, ...] = GROUPS
    tickets: bool = True
    strict_names: bool = False
    # http/1.0 for clients that speak nothing else and say so (curl --http1.0); nginx takes it as well.
    alpn: tuple[bytes, ...] = (b"http/1.1", b"http/1.0")

    @property
    def is_tls13_only(self) -> bool:
        """Whether clients that speak TLS 1.2 at best are refused."""
        return self.minimum == "1.3"

    @property
    def needs_hybrid(self) -> bool:
        """Whether nobody can be served by a TLS library without ML-KEM."""
        return all(is_hybrid(group) for group in self.groups)


PROFILES: Final[Mapping[Profile, TLSPolicy]] = MappingProxyType(
    {
        Profile.INTERMEDIATE: TLSPolicy(),
        Profile.MODERN: TLSPolicy(Profile.MODERN, minimum="1.3", ciphers=()),
        Profile.PQ_ONLY: TLSPolicy(Profile.PQ_ONLY, minimum="1.3", ciphers=(), groups=HYBRID_GROUPS),
    }
)


def is_hybrid(group: str) -> bool:
    """Say whether a group holds a post-quantum half."""
    return "MLKEM" in group


def canonical_group(name: str) -> str | None:
    """Give the name by which a group stands in a policy, None for one that may stand in none."""
    return GROUP_NAMES.get(name.lower())


def group_list(groups: tuple[str, ...], *, has_hybrid: bool) -> str:
    """Write groups as OpenSSL takes them; those that a library lacks (before 3.5) are left out.

    From OpenSSL 3.5 on each run of hybrid or other ones is a tuple of its own: a client that knows a group of
    the first tuple, but sent no key share for it, is asked for that (a HelloRetryRequest, one round trip), as
    by OpenSSL's own default; in one list, the client's guess would decide.
    """
    if not has_hybrid:
        return ":".join(group for group in groups if not is_hybrid(group))
    return "/".join(":".join(run) for _, run in groupby(groups, is_hybrid))
