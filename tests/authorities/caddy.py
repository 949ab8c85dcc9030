"""Caddy as an ACME authority (step-ca within), on loopback: certificates of five minutes, its shortest.

It looks at the ports 80 and 443 and nowhere else, so what it proves is an address of the loopback network
that nobody uses.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certstore.issuers.acme.wishes import Server
from tests.authorities.pebble import free_ports, wait_port
from tests.pki import Pki
from tests.plugins.tools import find

CONFIG = """
{{
	admin off
	skip_install_trust
	auto_https off
	storage file_system {folder}/data
}}
https://127.0.0.1:{port} {{
	tls {folder}/srv.pem {folder}/srv.key
	acme_server {{
		lifetime 5m
		challenges http-01 tls-alpn-01
	}}
}}
"""


@contextmanager
def running(folder: Path, pki: Pki) -> Iterator[Server]:
    """Run one; gives the way to it."""
    (port,) = free_ports(1)
    issued = pki.leaf(("localhost", "127.0.0.1"))
    (folder / "srv.pem").write_bytes(issued.chain_pem)
    (folder / "srv.key").write_bytes(issued.key_pem)
    (folder / "Caddyfile").write_text(CONFIG.format(folder=folder, port=port))
    log = folder / "caddy.log"
    words = [find("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_port(port, process, log)
        yield Server(f"https://127.0.0.1:{port}/acme/local/directory", pki.root_pem, system_roots=False)
    finally:
        process.kill()
        process.wait()
