"""Why a cipher, a group or a version is spoken here, or isn't, in a person's words.

Promises: says something true of every name that OpenSSL or IANA has for a TLS cipher suite, by what the name
is made of; and of an unknown one that it is unknown. Pure. The verdicts are those of policy_tls.py, whose
tables alone decide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tlsproxy.policy_tls import (
    GROUPS,
    HYBRID_GROUPS,
    TLS12_CIPHERS,
    TLS13_SUITES,
    canonical_group,
)

__all__ = ["Explained", "cipher_named", "explain", "why_not_cipher", "why_not_group"]


@dataclass(frozen=True, slots=True)
class Explained:
    """What there is to say of one name. kind: "cipher", "suite", "group", "version", or "unknown".

    standing: whether the default profile speaks it, only a custom one may, or none.
    """

    name: str
    kind: str
    standing: str
    why: str


_SPOKEN, _BY_CHOICE, _NEVER = "spoken by default", "only by profile custom", "never spoken"

_SUITES: Final = MappingProxyType(
    {
        "TLS_AES_128_GCM_SHA256": "authenticated, fast in hardware, and 128 bits are enough; with SHA-256"
        " its handshake is cheaper than with SHA-384",
        "TLS_AES_256_GCM_SHA384": "authenticated; for who must have 256 bits",
        "TLS_CHACHA20_POLY1305_SHA256": "authenticated; chosen where the client puts it first, which says"
        " that its processor has no AES",
    }
)
_GROUPS: Final = MappingProxyType(
    {
        "X25519MLKEM768": "hybrid post-quantum: safe as long as X25519 or ML-KEM is; browsers negotiate it",
        "SecP256r1MLKEM768": "hybrid post-quantum, for who must keep to NIST's curves",
        "SecP384r1MLKEM1024": "hybrid post-quantum at the highest level; no browser has it, and it costs"
        " several times what X25519MLKEM768 costs",
        "X25519": "fast, and safe against today's computers; for clients without a hybrid group",
        "P-256": "for clients that know NIST's curves only",
        "P-384": "for clients whose rules want it; slower",
        "P-521": "few clients want it, and it costs a server several times what X25519 costs",
        "X448": "few clients know it, and it costs a server several times what X25519 costs",
    }
)
_VERSIONS: Final = MappingProxyType(
    {
        "1.3": (_SPOKEN, "forward secrecy always, and nothing that was ever broken (RFC 8446)"),
        "1.2": (_SPOKEN, "with ECDHE and AEAD as safe as needed; profile modern does without it"),
        "1.1": (_NEVER, "deprecated since 2021 (RFC 8996): it signs with SHA-1 and has no AEAD"),
        "1.0": (_NEVER, "deprecated since 2021 (RFC 8996): BEAST, SHA-1, no AEAD"),
        "SSLv3": (_NEVER, "broken since 2014 (POODLE; RFC 7568)"),
        "SSLv2": (_NEVER, "broken since 1996 (DROWN; RFC 6176)"),
    }
)
_OTHER_NAMES: Final = {"ssl3": "SSLv3", "sslv3": "SSLv3", "ssl2": "SSLv2", "sslv2": "SSLv2", "1": "1.0"}
# The first that fits a cipher's name says why not. IANA's names have WITH in them, OpenSSL's don't.
_OPEN_LATER: Final = "no forward secrecy: whoever gets the key can open what was recorded"
_FAULTS: Final = (
    (re.compile(r"NULL"), "it doesn't encrypt"),
    (re.compile(r"EXP"), "it is of export strength, broken in minutes (FREAK, Logjam)"),
    (re.compile(r"(^|[-_])(ANON|ADH|AECDH)([-_]|$)"), "nobody proves who they are: anyone may sit between"),
    (re.compile(r"RC4"), "RC4 is broken, and prohibited (RFC 7465)"),
    (re.compile(r"DES|IDEA|SEED|RC2"), "its blocks or keys of 64 bits or less are too small (Sweet32)"),
    (re.compile(r"MD5"), "MD5 is broken"),
    (re.compile(r"PSK|SRP"), "keys that are shared beforehand have no place in front of browsers"),
    (re.compile(r"^(TLS_)?(EC)?DH[-_](RSA|ECDSA|DSS)"), _OPEN_LATER),
    (
        re.compile(r"^(TLS_)?(DHE|EDH)"),
        "finite-field Diffie-Hellman costs a server many times what ECDHE costs, which every client knows",
    ),
    (
        re.compile(r"GOST|MAGMA|KUZNYECHIK|CAMELLIA|ARIA|SM4"),
        "no browser speaks it, and fewer eyes have looked at it",
    ),
    (re.compile(r"CCM"), "no browser speaks it, and it is slower than GCM where there is hardware"),
    (
        re.compile(r"ECDHE.*(CBC|AES_?(128|256)[-_]SHA)"),
        "CBC with a MAC behind it leaks by its timing (Lucky 13); its counterpart with GCM is spoken instead",
    ),
    (re.compile(r"^(TLS_)?(RSA[-_])?(WITH_)?AES"), f"{_OPEN_LATER} (and ROBOT)"),
)
_UNKNOWN_CIPHER: Final = "it is no cipher that is known here"
_UNKNOWN_GROUP: Final = "it is no group that is known here"
_NAME: Final = re.compile(r"[A-Z0-9]+([_-][A-Z0-9]+)+")  # of one word there is none
_IANA: Final = re.compile(
    r"TLS_(ECDHE)_(ECDSA|RSA)_WITH_(AES_(?:128|256)_GCM_SHA\d{3}|CHACHA20_POLY1305)(?:_SHA256)?"
)


def cipher_named(text: str) -> str:
    """Give OpenSSL's name of a suite that policy_tls.py may hold, whichever name it was called by."""
    name = text.strip().upper()
    match = _IANA.fullmatch(name)
    if match is None:
        return name
    cipher = match[3].replace("AES_", "AES").replace("_", "-")
    return f"{match[1]}-{match[2]}-{cipher}"


def why_not_cipher(text: str) -> str:
    """Say why a cipher may stand in no policy; only for one that policy_tls.py doesn't have."""
    name = text.strip().upper()
    if not _NAME.fullmatch(name):
        return "it is no name of one: ciphers are named one by one, in quotes, without OpenSSL's signs"
    found = next((why for pattern, why in _FAULTS if pattern.search(name)), None)
    return found or _UNKNOWN_CIPHER


def why_not_group(text: str) -> str:
    """Say why a group may stand in no policy; only for one that policy_tls.py doesn't have."""
    name = text.strip().lower()
    if name.startswith("ffdhe"):
        return "finite-field Diffie-Hellman costs a server up to fifty times what X25519 costs"
    if name.startswith("mlkem"):
        return "ML-KEM alone stands or falls with one young algorithm: take a hybrid group"
    if name.startswith(("sect", "brainpool", "secp", "prime", "wtls", "gc", "curvesm")) or name == "sm2":
        return "no browser speaks it, or it is too small"
    return _UNKNOWN_GROUP


def explain(text: str) -> Explained:
    """Say what a cipher, suite, group or version is to us."""
    name = text.strip()
    return (
        _explained_version(name)
        or _explained_group(name)
        or _explained_cipher(name)
        or Explained(name, "unknown", _NEVER, "no cipher, group or version of that name is known here")
    )


def _explained_version(name: str) -> Explained | None:
    plain = name.lower().removeprefix("tls").removeprefix("v").strip(" -_v")
    version = _OTHER_NAMES.get(plain, plain)
    if version not in _VERSIONS:
        return None
    return Explained(f"TLS {version}" if version[0] == "1" else version, "version", *_VERSIONS[version])


def _explained_group(name: str) -> Explained | None:
    group = canonical_group(name)
    if group is not None:
        return Explained(group, "group", _SPOKEN if group in GROUPS else _BY_CHOICE, _GROUPS[group])
    why = why_not_group(name)
    return Explained(name, "group", _NEVER, why) if why != _UNKNOWN_GROUP else None


def _explained_cipher(name: str) -> Explained | None:
    cipher = cipher_named(name)
    if cipher in TLS13_SUITES:
        return Explained(cipher, "suite", _SPOKEN, _SUITES[cipher])
    if cipher in TLS12_CIPHERS:
        return Explained(cipher, "cipher", _SPOKEN, _why_cipher(cipher))
    why = why_not_cipher(name) if _NAME.fullmatch(cipher) else _UNKNOWN_CIPHER
    return Explained(cipher, "cipher", _NEVER, why) if why != _UNKNOWN_CIPHER else None


def _why_cipher(cipher: str) -> str:
    """Put together what there is to say of one of TLS 1.2's."""
    certificate = "an EC" if "ECDSA" in cipher else "an RSA"
    kind = "CHACHA20" if "CHACHA20" in cipher else "AES_256" if "AES256" in cipher else "AES_128"
    same = next(why for name, why in _SUITES.items() if kind in name)
    return f"forward secrecy by ECDHE, with {certificate} certificate; {same}"


assert set(_SUITES) == set(TLS13_SUITES), "every suite has its reason"
assert set(HYBRID_GROUPS) <= set(_GROUPS), "every group has its reason"
