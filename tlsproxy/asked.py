"""Whose clients are asked for a certificate, in the status: the rules, and what each row has of them.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from tlsproxy.observe.status import AskedStatus, RowStatus
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.tls.clientrules import Rules

__all__ = ["asked", "with_modes"]


def asked(rules: Iterable[ClientAuth], held: Collection[str]) -> tuple[AskedStatus, ...]:
    """Show the rules of a configuration; `held`: the names of the trust sets that there are."""
    return tuple(
        AskedStatus(rule.mode, rule.words, rule.trust if rule.asks else "", rule.asks and rule.trust in held)
        for rule in rules
    )


def with_modes(
    rows: tuple[RowStatus, ...], rules: Sequence[ClientAuth], ports: Iterable[int]
) -> tuple[RowStatus, ...]:
    """Say of each row whether its clients are asked for a certificate, on these ports."""
    if not rules:
        return rows
    known, ports = Rules(rules), tuple(ports)

    def mode_of(pattern: str) -> str:
        found = (known.choose(pattern, port) for port in ports)
        return ", ".join(dict.fromkeys("off" if rule is None else rule.mode for rule in found)) or "off"

    return tuple(replace(row, clients=mode_of(row.pattern)) for row in rows)
