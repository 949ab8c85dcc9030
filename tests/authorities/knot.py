"""Knot DNS as a site's name server, on loopback: a zone that takes signed updates, and one of aliases."""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.authorities.pebble import free_ports, wait_port
from tests.plugins.tools import find

KEY = """key "device." {{
	algorithm hmac-sha256;
	secret "{secret}";
}};
"""
CONFIG = """
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
    automatic-acl: off
database:
    storage: "{folder}"
log:
  - target: stderr
    any: info
key:
  - id: device.
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: device
    key: device.
    action: update
    update-type: TXT
zone:
"""
ZONES = {
    "test": """  - domain: test.
    storage: "{folder}"
    file: test.zone
    acl: device
    zonefile-sync: -1
    journal-content: changes
""",
    "elsewhere": """  - domain: elsewhere.
    storage: "{folder}"
    file: elsewhere.zone
""",
}
SOA = "@ 60 SOA ns.test. nobody.test. 1 60 60 600 60\n@ 60 NS ns.test.\n"
ZONE = SOA + "ns A 127.0.0.1\ndevice A 127.0.0.1\n"
ALIASES = (
    SOA
    + """
_acme-challenge.device CNAME _acme-challenge.device.test.
_acme-challenge.loop CNAME _acme-challenge.loop
"""
)


@dataclass(frozen=True, slots=True)
class Knot:
    """A running one; `key_file` holds the key for updates as tsig-keygen writes it."""

    port: int
    key_file: Path
    log: Path


@contextmanager
def running(folder: Path, zones: Sequence[str] = tuple(ZONES), more: str = "") -> Iterator[Knot]:
    """Run one, for these zones; `more` are records of the zone test."""
    (port,) = free_ports(1)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    (folder / "test.zone").write_text("$ORIGIN test.\n" + ZONE + more)
    (folder / "elsewhere.zone").write_text("$ORIGIN elsewhere.\n" + ALIASES)
    (folder / "knot.conf").write_text(
        (CONFIG + "".join(ZONES[one] for one in zones)).format(folder=folder, port=port, secret=secret)
    )
    key_file, log = folder / "device.key", folder / "knot.log"
    key_file.write_text(KEY.format(secret=secret))
    with log.open("wb") as out:
        words = [find("knotd"), "-c", str(folder / "knot.conf")]
        process = subprocess.Popen(words, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_port(port, process, log)
        yield Knot(port, key_file, log)
    finally:
        process.kill()
        process.wait()
