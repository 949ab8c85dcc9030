"""Let's Encrypt's test authority with its mock of the DNS, started on loopback on ports of our own."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certstore.issuers.acme.wishes import Binding, Server
from tests.pki import Pki
from tests.plugins.tools import find

WITHIN_S = 30.0
MAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@dataclass(frozen=True, slots=True)
class Pebble:
    """A running one. `http` is the port where it looks for http-01."""

    server: Server
    management: str
    dns: str
    http: int
    tls: int
    trusted: ssl.SSLContext

    @property
    def binding(self) -> Binding:
        return Binding("kid-1", base64.urlsafe_b64decode(MAC + "=" * (-len(MAC) % 4)))

    def root(self, number: int) -> bytes:
        with urllib.request.urlopen(f"{self.management}/roots/{number}", context=self.trusted) as answer:
            found: bytes = answer.read()
        return found

    def status_of(self, serial: int) -> str:
        """Say what it has of a certificate: Valid or Revoked."""
        url = f"{self.management}/cert-status-by-serial/{serial:x}"
        with urllib.request.urlopen(url, context=self.trusted) as answer:
            status: str = json.load(answer)["Status"]
        return status

    def set_dns(self, what: str, **facts: Any) -> None:
        request = urllib.request.Request(f"{self.dns}/{what}", json.dumps(facts).encode())
        urllib.request.urlopen(request).close()


def free_ports(count: int) -> list[int]:
    """Give ports that nobody has now."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in holders]
    for one in holders:
        one.close()
    return ports


def wait_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        else:
            return


@contextmanager
def running(
    folder: Path,
    pki: Pki,
    *,
    binding: bool = False,
    beside: Pebble | None = None,
    asks: int | None = None,
    **environment: str,
) -> Iterator[Pebble]:
    """Run one: strict, half of all nonces refused, no authorization used twice, two roots.

    beside: another one, which looks at the same ports. asks: the port of the name server that it asks.
    """
    api, management, http, tls, dns, dns_management = free_ports(6)
    if beside is not None:
        http, tls = beside.http, beside.tls
    issued = pki.leaf(("localhost", "127.0.0.1"))
    (folder / "srv.pem").write_bytes(issued.chain_pem)
    (folder / "srv.key").write_bytes(issued.key_pem)
    config = {
        "listenAddress": f"127.0.0.1:{api}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": "srv.pem",
        "privateKey": "srv.key",
        "httpPort": http,
        "tlsPort": tls,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": binding,
        "certificateValidityPeriod": 518400,
        "externalAccountMACKeys": {"kid-1": MAC},
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
    words = [find("pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
    words += ["-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{dns_management}"]
    words += ["-http01", "", "-https01", "", "-tlsalpn01", ""]
    asked = {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": "50",
        "PEBBLE_AUTHZREUSE": "0",  # and yet it takes one in a hundred again: Intn(100) > 0 asks for a new one
        "PEBBLE_CHAIN_LENGTH": "2",
        "PEBBLE_ALTERNATE_ROOTS": "1",
        **environment,
    }
    mine = [find("pebble"), "-config", "pebble.json", "-dnsserver", f"127.0.0.1:{asks or dns}", "-strict"]
    with _started(words, folder, dns_management, {}), _started(mine, folder, api, asked):
        trusted = ssl.create_default_context(cadata=pki.root_pem.decode())
        server = Server(f"https://127.0.0.1:{api}/dir", pki.root_pem, system_roots=False)
        urls = f"https://127.0.0.1:{management}", f"http://127.0.0.1:{dns_management}"
        yield Pebble(server, *urls, http, tls, trusted)


@contextmanager
def _started(words: list[str], folder: Path, port: int, more: dict[str, str]) -> Iterator[None]:
    log = folder / f"{Path(words[0]).name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, **more}, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_port(port, process, log)
        yield
    finally:
        process.kill()
        process.wait()
