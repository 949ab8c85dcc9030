"""How each peer is told of a new certificate: its own best way, with no connection dropped.

What is handed over is on disk already: at a path of its own (`new`), and, for those that know only fixed
paths, there too (`fixed`). Each way returns when the peer has been told, which needn't mean that it serves;
where it does (HAProxy's and ours), the table says that the peer `tells`.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from benchmarks.credentials import Credentials
from certstore import Candidate, Receipt
from tlsproxy.control.values import candidate_to_json

TOLD_S = 10.0


class Rotating(Protocol):
    """What a rotation needs of a running server."""

    @property
    def pid(self) -> int:
        """The process that was started."""
        ...

    @property
    def folder(self) -> Path:
        """Its files."""
        ...

    def serve(self, credentials: Credentials, template: str | None = None) -> Credentials:
        """Write the credentials to the fixed paths, or fill a template in anew with their own."""
        ...

    @property
    def fixed(self) -> Credentials:
        """The certificate that it was started with, at the paths that it knows."""
        ...

    @property
    def new(self) -> Credentials:
        """The certificate to be served next."""
        ...


def by_hangup(server: Rotating) -> None:
    """nginx, hitch, stunnel: replace the files, then SIGHUP (new workers, or contexts, take over)."""
    server.serve(server.new)
    os.kill(server.pid, signal.SIGHUP)


def by_file(template: str) -> Callable[[Rotating], None]:
    """Traefik, Envoy: rename a watched file over that names the new certificate."""

    def rotate(server: Rotating) -> None:
        server.serve(server.new, template)

    return rotate


def by_runtime_socket(server: Rotating) -> None:
    """HAProxy: a transaction on its runtime socket; and the disk, or a restart would go back."""
    fixed = server.serve(server.new)
    pem = fixed.both.read_text().strip()
    for command in (f"set ssl cert {fixed.both} <<\n{pem}\n\n", f"commit ssl cert {fixed.both}\n"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TOLD_S)
            sock.connect(str(server.folder / "runtime.sock"))
            sock.sendall(command.encode())
            answer = b""
            while data := sock.recv(65536):
                answer += data
        if b"Transaction" not in answer and b"Success" not in answer:
            raise OSError(answer.decode("utf-8", "replace").strip())


def by_admin_socket(server: Rotating) -> None:
    """Caddy: load a configuration that names the new files."""
    server.serve(server.new, "Caddyfile")
    body = (server.folder / "Caddyfile").read_bytes()
    _post(server.folder / "admin.sock", "/load", body, "text/caddyfile")


def by_control_socket(server: Rotating) -> None:
    """tlsproxy: hand it in as `certs import` does, without that program's start; returns when it is live."""
    issued = server.new.issued
    candidate = Candidate((("device.pem", issued.chain_pem), ("device.key", issued.key_pem)))
    body = json.dumps(candidate_to_json(candidate, "api")).encode()
    answer = _post(
        server.folder / "store" / "run" / "control.sock", "/v1/candidates", body, "application/json"
    )
    receipt = Receipt.from_json(json.loads(answer))
    if receipt.live_at is None:
        raise OSError(f"refused: {', '.join(receipt.codes)}")


def _post(path: Path, target: str, body: bytes, kind: str) -> bytes:
    """Ask over a UNIX socket; gives the answer's body. Raises OSError unless it is a success."""
    connection = http.client.HTTPConnection("localhost", timeout=TOLD_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(TOLD_S)
        connection.sock.connect(str(path))
        connection.request("POST", target, body, {"Content-Type": kind})
        answer = connection.getresponse()
        words = answer.read()
    finally:
        connection.close()
    if answer.status not in (http.client.OK, http.client.CREATED):
        raise OSError(words.decode("utf-8", "replace").strip())
    return words
