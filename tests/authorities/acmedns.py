"""An acme-dns server of our own, on loopback: there is none to be had here. It follows that one's API.

As its README has it (github.com/joohoi/acme-dns): `POST /register` makes an account, `POST /update` sets a
value, of which it keeps two. Where its zone is a real name server's (Knot), it puts the records there.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.pki import Pki

Show = Callable[[str, list[str]], None]
"""Puts the values of an account's name into the zone."""


@dataclass
class AcmeDns:
    """A running one. script: answers in its place, a status and a body."""

    url: str
    accounts: dict[str, dict[str, str]] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    script: tuple[int, bytes] | None = None

    def register(self, subdomain: str, fulldomain: str) -> str:
        """Make an account, with a name of one's choice; gives what is answered."""
        account = {
            "username": secrets.token_hex(16),
            "password": secrets.token_urlsafe(30),
            "fulldomain": fulldomain,
            "subdomain": subdomain,
        }
        self.accounts[account["username"]] = account
        return json.dumps({**account, "allowfrom": []})


@contextmanager
def running(folder: Path, pki: Pki, show: Show = lambda _name, _values: None) -> Iterator[AcmeDns]:
    """Run one until the block ends; its certificate is of `pki`."""
    issued = pki.leaf(("localhost", "127.0.0.1"))
    file = folder / "acme-dns.pem"
    file.write_bytes(issued.key_pem + issued.chain_pem)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = one.script or self._updated(asked)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _updated(self, asked: dict[str, Any]) -> tuple[int, bytes]:
            account = one.accounts.get(self.headers.get("X-Api-User", ""), {})
            is_theirs = account and account["password"] == self.headers.get("X-Api-Key")
            if self.path != "/update":
                return 404, b""
            if not is_theirs or account["subdomain"] != asked["subdomain"]:
                return 401, b'{"error": "forbidden"}'
            if len(asked["txt"]) != 43:
                return 400, b'{"error": "bad_txt"}'
            one.asked.append(asked)
            kept = one.values[account["fulldomain"]] = [
                *one.values.get(account["fulldomain"], []),
                asked["txt"],
            ][-2:]
            show(account["fulldomain"], kept)
            return 200, json.dumps({"txt": asked["txt"]}).encode()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        one = AcmeDns(f"https://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield one
        server.shutdown()
        thread.join()
