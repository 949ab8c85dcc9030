"""The table `[acme]`: what the device's maker has set up for certificates of an ACME authority.

Pure: a table goes in, values and complaints come out. What it means: docs/acme.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from tlsproxy.config.lines import Path
from tlsproxy.config.tables import Table
from tlsproxy.config.values import AcmeConfig, Seconds

__all__ = ["find_acme_contradictions", "read_acme"]

Complaint = tuple[Path, str, str]


def read_acme(table: Table) -> AcmeConfig:
    """Read it; what is wrong is noted, and the default stands in its place."""
    plain = AcmeConfig()
    acme = AcmeConfig(
        dns_hook=tuple(table.leaf("dns_hook", list[str], [])),
        dns_hook_s=table.leaf("dns_hook_s", Seconds, plain.dns_hook_s),
    )
    table.finish()
    return acme


def find_acme_contradictions(acme: AcmeConfig) -> Iterator[Complaint]:
    """Find what can't work together."""
    if acme.dns_hook and not acme.dns_hook[0].startswith("/"):
        why = f"{acme.dns_hook[0]!r} is no absolute path: nothing is looked for, and no shell reads it"
        yield ("acme", "dns_hook"), why, 'as in dns_hook = ["/usr/lib/device/dns-hook"]'
