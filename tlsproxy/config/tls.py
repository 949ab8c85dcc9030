"""The table `[tls]`: a profile, or above the floor of policy_tls.py whatever one's clients need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tlsproxy import policy_reasons as reasons
from tlsproxy.config.tables import Table
from tlsproxy.config.values import Engine, Seconds, TLSConfig
from tlsproxy.policy_tls import (
    GROUPS,
    PROFILES,
    TICKET_S,
    TLS12_CIPHERS,
    TLS13_SUITES,
    Profile,
    TLSPolicy,
    canonical_group,
    is_hybrid,
)

__all__ = ["read_tls"]

_CUSTOM_KEYS = ("minimum", "ciphers", "suites", "groups")


def read_tls(table: Table, path_of: Callable[[str], Path]) -> TLSConfig:
    """Read `[tls]`; what is wrong is noted, and the default stands in its place."""
    profile: Profile = table.leaf("profile", Profile, Profile.INTERMEDIATE)
    policy = _custom(table) if profile is Profile.CUSTOM else _named(table, profile)
    found = TLSConfig(
        engine=table.leaf("engine", Engine, "auto"),
        policy=replace(
            policy,
            tickets=table.leaf("tickets", bool, True),
            strict_names=table.leaf("strict_names", bool, False),
        ),
        ticket_s=table.leaf("ticket_s", Seconds, TICKET_S),
        key_log=table.parsed("unsafe_key_log", lambda text: path_of(text) if text else None, None),
    )
    table.finish()
    return found


def _named(table: Table, profile: Profile) -> TLSPolicy:
    for key in _CUSTOM_KEYS:
        if key in table:
            table.refuse(key, f'the profile "{profile}" says that itself', 'to choose: profile = "custom"')
    return PROFILES[profile]


def _custom(table: Table) -> TLSPolicy:
    minimum: Literal["1.2", "1.3"] = table.leaf("minimum", Literal["1.2", "1.3"], "1.2")
    if minimum == "1.3" and "ciphers" in table:
        table.refuse("ciphers", "these are of TLS 1.2, which isn't spoken", "leave them out")
    ciphers = _chosen(table, "ciphers", _cipher, TLS12_CIPHERS)
    if not any("ECDSA" in cipher for cipher in ciphers):
        why = "the device's own certificate has an EC key, and none of these is for such"
        table.refuse("ciphers", why, f"add {TLS12_CIPHERS[0]}")
    groups = _chosen(table, "groups", _group, GROUPS)
    if minimum == "1.2" and all(is_hybrid(group) for group in groups):
        table.refuse("groups", "TLS 1.2 has no hybrid key exchange", 'add X25519, or minimum = "1.3"')
    suites = _chosen(table, "suites", _suite, TLS13_SUITES)
    return TLSPolicy(Profile.CUSTOM, minimum, () if minimum == "1.3" else ciphers, suites, groups)


def _chosen(table: Table, key: str, parse: Any, default: tuple[str, ...]) -> tuple[str, ...]:
    found: tuple[str, ...] = table.parsed_list(key, parse)
    if key not in table:
        return default
    if table.leaf(key, list[str], None) == []:
        table.refuse(key, "without any nobody could connect", "name one, or leave the key out")
    return tuple(dict.fromkeys(found)) or default


def _cipher(text: str) -> str:
    name = reasons.cipher_named(text)
    if name in TLS12_CIPHERS:
        return name
    if name in TLS13_SUITES:
        raise ValueError(f"{text} is of TLS 1.3: it stands in suites")
    raise ValueError(f"{text} is below the floor: {reasons.why_not_cipher(text)}")


def _suite(text: str) -> str:
    if text.upper() in TLS13_SUITES:
        return text.upper()
    raise ValueError(f"{text} is no suite that may stand here: known are {', '.join(TLS13_SUITES)}")


def _group(text: str) -> str:
    name = canonical_group(text)
    if name is None:
        raise ValueError(f"{text} is below the floor: {reasons.why_not_group(text)}")
    return name
