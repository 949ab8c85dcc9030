"""acme2certifier (GPL: a process and an environment of its own) behind TLS, on loopback.

It has what pebble lacks: renewal information and profiles. It checks no proofs here, and speaks plain HTTP:
the TLS before it is ours.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certstore.issuers.acme.wishes import Server
from tests.authorities.pebble import free_ports, wait_port
from tests.pki import Pki, key_to_pem, to_pem
from tests.plugins.tools import find

PROFILES = ("classic", "shortlived")
CONFIG = """
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {folder}/ca.key
issuing_ca_cert: {folder}/ca.pem
issuing_ca_crl: {folder}/crl.pem
ca_cert_chain_list: ["{folder}/root.pem"]
cert_save_path: {folder}/certs
cert_validity_days: 30
[DBhandler]
handler: wsgi
dbfile: {folder}/acme.db
[Challenge]
challenge_validation_disable: True
[Order]
profiles: {{"classic": "http://localhost/c", "shortlived": "http://localhost/s"}}
"""


@asynccontextmanager
async def running(folder: Path, pki: Pki) -> AsyncIterator[Server]:
    """Run one; gives the way to it."""
    process, port, log = _start(folder, pki)
    try:
        await trio.to_thread.run_sync(wait_port, port, process, log)
        async with trio.open_nursery() as nursery:
            tls = _tls(folder, pki)
            (listener,) = await trio.open_ssl_over_tcp_listeners(0, tls, host="127.0.0.1")
            inner = listener.transport_listener
            assert isinstance(inner, trio.SocketListener)
            await nursery.start(partial(trio.serve_listeners, partial(_relay, port), [listener]))
            url = f"https://127.0.0.1:{inner.socket.getsockname()[1]}/directory"
            yield Server(url, pki.root_pem, system_roots=False)
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        process.wait()


def _start(folder: Path, pki: Pki) -> tuple[subprocess.Popen[bytes], int, Path]:
    waitress = Path(find("waitress-serve")).absolute()
    (folder / "certs").mkdir()
    (folder / "ca.key").write_bytes(key_to_pem(pki.intermediate_key))
    (folder / "ca.pem").write_bytes(to_pem(pki.intermediate))
    (folder / "root.pem").write_bytes(pki.root_pem)
    (folder / "crl.pem").write_bytes(_crl(pki))
    (folder / "acme_srv.cfg").write_text(CONFIG.format(folder=folder))
    script = next(waitress.parents[1].rglob("acme2certifier_wsgi.py"))
    shutil.copy(script, folder / "app.py")
    (port,) = free_ports(1)
    words = [str(waitress), f"--listen=127.0.0.1:{port}", "--url-scheme=https", "app:application"]
    more = {"ACME_SRV_CONFIGFILE": str(folder / "acme_srv.cfg"), "ACME2CERTIFIER_I_KNOW_THE_RISK": "1"}
    log = folder / "acme2certifier.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, **more}, stdout=out, stderr=subprocess.STDOUT
        )
    return process, port, log


def _crl(pki: Pki) -> bytes:
    """Make the list of what was revoked, without which it doesn't start."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder(pki.intermediate.subject, now, now + timedelta(days=30))
    return builder.sign(pki.intermediate_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _tls(folder: Path, pki: Pki) -> ssl.SSLContext:
    issued = pki.leaf(("localhost", "127.0.0.1"))
    (folder / "tls.pem").write_bytes(issued.chain_pem + issued.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context


async def _relay(port: int, client: trio.SSLStream[trio.SocketStream]) -> None:
    """Carry bytes both ways until one side has ended."""
    server = await trio.open_tcp_stream("127.0.0.1", port)
    async with client, server, trio.open_nursery() as nursery:

        async def carry(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
            try:
                async for part in source:
                    await sink.send_all(part)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(carry, client, server)
        nursery.start_soon(carry, server, client)
