"""A server under test: started on its core from a peer's templates, proved to serve, and ended.

`Blank` fills a template in: @port, @upstream, @folder, @cert, @key, @both (chain and key in one),
@credentials (their folder), @workers, and the peer's own values. Ready means that a handshake shows the right
certificate and a GET is answered by the upstream.
"""

from __future__ import annotations

import ssl
import string
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import client, machine
from benchmarks.accounting import Tree
from benchmarks.credentials import Credentials
from benchmarks.peers.table import Peer
from benchmarks.processes import free_port, running

TEMPLATES = Path(__file__).parent / "peers"
# Between two looks whether a server is ready.
_LOOK_S = 0.02


class Blank(string.Template):
    """A template whose names stand behind an @, since $ belongs to nginx."""

    delimiter = "@"


class NotServingError(Exception):
    """A server didn't get ready; its words are the end of its log."""


@dataclass(slots=True)
class Server:
    """A running server. `fixed` are the credentials that it was started with, `new` the next ones.

    start_s: from the start of its process until a handshake and a GET were answered.
    """

    peer: Peer
    pid: int
    port: int
    upstream: int
    folder: Path
    fixed: Credentials
    new: Credentials
    start_s: float = 0.0

    @property
    def name(self) -> str:
        """The name in the tables."""
        return self.peer.name

    @property
    def tree(self) -> Tree:
        """Its processes."""
        return Tree(self.pid)

    def fill(self, text: str, credentials: Credentials) -> str:
        """Fill a template in."""
        return Blank(text).safe_substitute(
            port=self.port,
            upstream=self.upstream,
            folder=self.folder,
            cert=credentials.cert,
            key=credentials.key,
            both=credentials.both,
            credentials=credentials.folder,
            workers=self.peer.workers,
            **self.peer.values,
        )

    def configure(self, template: str, credentials: Credentials) -> None:
        """Write one of its files, by a rename. An edit that finds nothing to replace is a ValueError."""
        text = (TEMPLATES / template).read_text()
        for _, old, new in (edit for edit in self.peer.edits if edit[0] == template):
            if old not in text:
                raise ValueError(f"{template} has no {old!r}")
            text = text.replace(old, new)
        aside = self.folder / f".new-{template}"
        aside.write_text(self.fill(text, credentials))
        aside.replace(self.folder / template)

    def serve(self, credentials: Credentials, template: str | None = None) -> Credentials:
        """Write credentials over the fixed ones; or, with a template, to their own place, and name that."""
        if template is None:
            self.fixed = Credentials(credentials.issued, self.fixed.folder)
            self.fixed.write()
            return self.fixed
        credentials.write()
        self.configure(template, credentials)
        return credentials


@contextmanager
def started(peer: Peer, upstream: int, folder: Path, credentials: Credentials) -> Iterator[Server]:
    """Start a peer; it is ready when the block begins, and gone when it ends. Raises NotServingError."""
    program = peer.find()
    if program is None:
        raise NotServingError("not installed")
    folder.mkdir()
    server = Server(peer, 0, free_port(), upstream, folder, credentials, credentials)
    credentials.write()
    for template in peer.templates:
        server.configure(template, credentials)
    if peer.prepare is not None:
        peer.prepare(server)
    command = [program, *(server.fill(word, credentials) for word in peer.arguments)]
    environment = {key: server.fill(value, credentials) for key, value in peer.environment.items()}
    log = folder / "output.log"
    with running(machine.on_server_core(command), log, environment) as process:
        begun, server.pid = time.monotonic(), process.pid
        _wait_ready(server, process, log)
        server.start_s = time.monotonic() - begun
        yield server


@contextmanager
def beside(server: Server, workers: int) -> Iterator[Server]:
    """Start the same server once more, with so many workers. Raises NotServingError."""
    folder = Path(tempfile.mkdtemp(prefix="beside-", dir=server.folder))
    folder.chmod(0o755)  # a worker that became another user goes through it
    credentials = Credentials(server.fixed.issued, folder / "credentials")
    with started(
        replace(server.peer, workers=workers), server.upstream, folder / "server", credentials
    ) as it:
        yield it


def _wait_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    context, deadline, why = client.make_context(), time.monotonic() + server.peer.ready_s, "no answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with client.connect(context, server.port) as tls:
                client.get(tls, "/")
                if client.fingerprint(tls) == server.fixed.fingerprint:
                    return
                why = "another certificate"
        except (OSError, ValueError) as error:
            why = str(error)
        time.sleep(_LOOK_S)
    ending = log.read_text(errors="replace").strip()[-500:]
    raise NotServingError(f"{why}; {ending}")


def negotiated(server: Server) -> str:
    """Say what the suite's client and this server agree on: version and cipher."""
    with client.connect(client.make_context(), server.port) as tls:
        cipher = tls.cipher()
        return f"{tls.version()}, {cipher[0] if cipher else 'none'}"


def resumes(server: Server, context: ssl.SSLContext) -> bool:
    """Say whether a second connection resumes the first one's session."""
    with client.connect(context, server.port) as first:
        client.get(first, "/")
        session = first.session
    with client.connect(context, server.port, session) as second:
        client.get(second, "/")
        return bool(second.session_reused)
