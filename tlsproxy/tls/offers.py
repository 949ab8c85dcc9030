"""What a hello says of what its client can use: one word for its version, one for keys, one for key exchange.

Promises: the words come from `OFFERED_VERSIONS`, `USABLE_KEYS` and `EXCHANGES`, whatever the client says; no
name and no address goes into them. Refuses to know who counts them, and what is served.

Theory. TLS 1.3 chooses a certificate by the client's signature algorithms alone; TLS 1.2 by its cipher suites
too (RFC 8422 section 5.1). A client that doesn't name its algorithms means those with SHA-1 (RFC 5246
section 7.4.1.4.1), which nobody here signs with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tlsproxy.tls.clienthello import ClientHello

__all__ = ["ECDSA_SCHEMES", "EXCHANGES", "OFFERED_VERSIONS", "TLS13", "USABLE_KEYS", "offer_of"]

OFFERED_VERSIONS: Final = ("older", "TLSv1.2", "TLSv1.3")
USABLE_KEYS: Final = ("neither", "rsa", "ec", "both")
EXCHANGES: Final = ("classical", "hybrid")
"""Whether a client knows a hybrid post-quantum group that a policy may name."""
TLS13: Final = 0x0304
_TLS12: Final = 0x0303
# RFC 8446 section 4.2.3: PKCS #1 signs nothing in TLS 1.3
ECDSA_SCHEMES: Final = frozenset({0x0403, 0x0503, 0x0603})
_PSS = frozenset({0x0804, 0x0805, 0x0806})
_RSA = _PSS | {0x0401, 0x0501, 0x0601}
# X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024, which there are in TLS 1.3 only
_HYBRID = frozenset({0x11EC, 0x11EB, 0x11ED})
# ECDHE with AES-128-GCM, AES-256-GCM and ChaCha20
_ECDSA_SUITES = frozenset({0xC02B, 0xC02C, 0xCCA9})
_RSA_SUITES = frozenset({0xC02F, 0xC030, 0xCCA8})


def offer_of(hello: ClientHello) -> tuple[str, str, str]:
    """Say the newest version that a client offers, which kinds of keys it can use with it, and its groups."""
    algorithms = hello.signature_algorithms
    ec = not ECDSA_SCHEMES.isdisjoint(algorithms)
    if TLS13 in hello.versions:
        exchange = EXCHANGES[not _HYBRID.isdisjoint(hello.groups)]
        return OFFERED_VERSIONS[2], USABLE_KEYS[2 * ec + (not _PSS.isdisjoint(algorithms))], exchange
    if _TLS12 not in hello.versions:
        return OFFERED_VERSIONS[0], USABLE_KEYS[0], EXCHANGES[0]
    suites = hello.cipher_suites
    ec = ec and not _ECDSA_SUITES.isdisjoint(suites)
    rsa = not _RSA.isdisjoint(algorithms) and not _RSA_SUITES.isdisjoint(suites)
    return OFFERED_VERSIONS[1], USABLE_KEYS[2 * ec + rsa], EXCHANGES[0]
