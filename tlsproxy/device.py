"""What this device is called: the names, addresses and serial number that its own certificate carries.

Promises: never `localhost` unless configured (who trusts a device for that name lets it impersonate their own
machine, which only the demo wants); a host name that no certificate can carry is left out, not an error. The
facts are read afresh at each call, since addresses and names change while we run.
"""

from __future__ import annotations

import socket
from pathlib import Path

from certstore import Comparison, Identity, is_address, normalise
from tlsproxy.config import Config, IdentityConfig
from tlsproxy.net.addresses import stable_addresses

_LOCALHOST = ("localhost", "127.0.0.1", "::1")
# Where a board's or a machine's serial number stands on Linux; the second is readable by root only.
_SERIALS = ("/proc/device-tree/serial-number", "/sys/class/dmi/id/product_serial")
# What firmware says when nobody filled the field in.
PLACEHOLDERS = frozenset(
    {"", "0", "none", "not specified", "to be filled by o.e.m.", "default string", "system serial number"}
)


def identity(config: IdentityConfig) -> Identity:
    """Tell who the device is now, by configuration and, where that is silent, by what the system says."""
    names = list(config.names) or host_names(socket.gethostname())
    if config.addresses is True:
        names += stable_addresses()
    elif config.addresses:
        names += config.addresses
    if config.localhost:
        names += _LOCALHOST
    usable = tuple(dict.fromkeys(filter(None, (_usable(name) for name in names))))
    hosts = [name for name in usable if not is_address(name)]
    common_name = (hosts or usable or ("device",))[0]
    return Identity(names=usable, serial=config.serial or serial_number(), common_name=common_name)


def factory_identity(config: IdentityConfig) -> Identity:
    """Tell who the device is for its life: by the names that were configured, not by addresses of today."""
    return Identity(names=tuple(config.names), serial=config.serial or serial_number(), common_name="")


def comparison(config: Config) -> Comparison:
    """Say what certificates are compared with here; names count that were configured, not those found out.

    What a device finds out about itself may be a name that nobody uses, and to warn of it each time teaches
    people to read no warnings.
    """
    given = config.identity.addresses
    names = (*config.identity.names, *(given if isinstance(given, tuple) else ()))
    return Comparison(
        roots=str(config.checks.roots or ""),
        blocklists=tuple(map(str, config.checks.blocklists)),
        reached_by=tuple(dict.fromkeys(filter(None, map(_usable, names)))),
    )


def host_names(host: str) -> list[str]:
    """Give a host's name, whole and first label, and the name by which multicast DNS knows it (RFC 6762)."""
    label = host.partition(".")[0]
    if not label or label == "localhost":
        return []
    return list(dict.fromkeys([host, label, f"{label}.local"]))


def serial_number() -> str:
    """Give the serial number that the firmware tells, or nothing."""
    for path in _SERIALS:
        try:
            text = Path(path).read_text("utf-8", "replace").strip(" \t\r\n\0")
        except OSError:
            continue
        if text.lower() not in PLACEHOLDERS and text.isprintable():
            return text[:64]  # ub-serial-number, RFC 5280 appendix A
    return ""


def _usable(name: str) -> str | None:
    try:
        return normalise(name)
    except ValueError:
        return None
