"""Client certificates against a live proxy: who is let in, what the upstream hears, and a swap under load."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio_websocket
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.live.peers import http_service, websocket_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.pki import Issued, Pki, crl

DEADLINE_S = 120
Stream = trio.SSLStream[trio.SocketStream]
RULES = """
[tls]
engine = "{engine}"
[[client_auth]]
names = ["api.test"]
trust = "plant"
allow = ["dns:*.plant.test"]
forward = "chain"
facts = true
[[client_auth]]
names = ["maybe.test"]
mode = "optional"
trust = "plant"
forward = "certificate"
"""


def client(pki: Pki, name: str = "pump-7.plant.test", issuer: str = "root") -> Issued:
    return pki.leaf((name,), issuer=issuer, eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))


class Shower:
    """Makes clients that show a certificate, or none."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    def context(self, issued: Issued | None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if issued is not None:
            path = self.folder / f"{issued.certificate.serial_number}.pem"
            path.write_bytes(issued.chain_pem + issued.key_pem)
            context.load_cert_chain(path)
        return context

    @asynccontextmanager
    async def stream(self, issued: Issued | None, name: str = "api.test") -> AsyncIterator[Stream]:
        tcp = await trio.open_tcp_stream("127.0.0.1", self.port)
        stream = trio.SSLStream(tcp, self.context(issued), server_hostname=name, https_compatible=True)
        try:
            yield stream
        finally:
            await trio.aclose_forcefully(stream)

    async def get(self, issued: Issued | None, name: str = "api.test", host: str = "") -> tuple[int, bytes]:
        async with self.stream(issued, name) as stream:
            return await asked(stream, host or name)

    async def refused(self, issued: Issued | None, name: str = "api.test") -> str:
        with pytest.raises((trio.BrokenResourceError, ssl.SSLError)) as error:
            await self.get(issued, name)
        cause = error.value if isinstance(error.value, ssl.SSLError) else error.value.__cause__
        assert isinstance(cause, ssl.SSLError)
        return (cause.reason or "").lower()


async def asked(stream: Stream, host: str, fields: str = "") -> tuple[int, bytes]:
    request = f"GET /headers HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()
    await stream.send_all(request)
    data = b""
    while b"\r\n\r\n" not in data:
        part = await stream.receive_some()
        assert part, "the connection ended"
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += await stream.receive_some()
    return int(head.split()[1]), body


async def trust(proxy: Proxy, folder: Path, *parts: bytes) -> tuple[int, str]:
    paths = []
    for index, part in enumerate(parts):
        paths.append(folder / f"trust-{index}.pem")
        paths[-1].write_bytes(part)
    words = ("trust", "import", *map(str, paths), "--name", "plant", "--store", str(proxy.store))
    done = await tlsproxy(*words)
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@asynccontextmanager
async def proxied(folder: Path, engine: str, pki: Pki) -> AsyncIterator[tuple[Proxy, Shower]]:
    async with http_service() as http, websocket_service() as ws:
        routes = {"/": f"http://127.0.0.1:{http}", "/ws": f"http://127.0.0.1:{ws}"}
        config = write_config(folder, routes, top="workers = 2", more=RULES.format(engine=engine))
        async with running(config) as proxy:
            yield proxy, Shower(folder, proxy.port)


async def test_who_is_let_in_and_what_the_upstream_hears(tmp_path: Path, pki: Pki, engine: str) -> None:
    known, other, stranger = client(pki), client(pki, "pump.else.test"), client(pki, issuer="intermediate")
    with trio.fail_after(DEADLINE_S):
        async with proxied(tmp_path, engine, pki) as (proxy, show):
            assert await show.refused(known) == "tlsv1_alert_unknown_ca", "there is no authority yet"
            code, words = await trust(proxy, tmp_path, pki.root_pem)
            assert code == 0, words
            status, body = await show.get(known)
            fields = dict(json.loads(body))
            assert status == 200
            assert fields["x-client-cert-subject"] == "CN=pump-7.plant.test"
            assert fields["x-client-cert-names"] == "DNS:pump-7.plant.test"
            assert fields["client-cert"].startswith(":")
            assert fields["client-cert-chain"].count(":") == 2
            assert "certificate_required" in await show.refused(None)
            assert (await show.get(stranger))[0] == 200, "it brings the authority between"
            assert (await show.get(other))[0] == 403
            # a name without a rule, and one where it is optional
            async with show.stream(None, "open.test") as stream:
                forged = (
                    "Client-Cert: :AAAA:\r\nX-Client-Cert-Subject: CN=admin\r\nX_Client_Cert_Subject: x\r\n"
                )
                status, body = await asked(stream, "open.test", forged)
                assert status == 200
                assert not [one for one, _ in json.loads(body) if "client" in one]
                assert (await asked(stream, "api.test"))[0] == 421
                assert (await asked(stream, "MAYBE.test:443"))[0] == 421
            assert (await show.get(None, "maybe.test"))[0] == 200
            status, body = await show.get(other, "maybe.test")
            assert (status, "client-cert" in dict(json.loads(body))) == (200, True)
            assert (await show.get(known, "api.test", "open.test"))[0] == 200


async def test_a_swap_under_load_ends_who_is_refused_and_nobody_else(
    tmp_path: Path, pki: Pki, engine: str
) -> None:
    lost, good = client(pki), client(pki, "pump-8.plant.test")
    bad = lost.certificate.serial_number
    with trio.fail_after(DEADLINE_S):
        async with proxied(tmp_path, engine, pki) as (proxy, show):
            assert (await trust(proxy, tmp_path, pki.root_pem, crl(pki.root, pki.root_key)))[0] == 0
            served = 0

            async def load(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                nonlocal served
                async with show.stream(good) as stream:
                    while True:
                        assert (await asked(stream, "api.test"))[0] == 200
                        served += 1
                        task_status.started() if served == 1 else None

            async with trio.open_nursery() as nursery, show.stream(lost) as idle, show.stream(good) as kept:
                await nursery.start(load)
                assert (await asked(idle, "api.test"))[0] == 200
                assert (await asked(kept, "api.test"))[0] == 200
                tcp = await trio.open_tcp_stream("127.0.0.1", proxy.port)
                tls = trio.SSLStream(tcp, show.context(lost), server_hostname="api.test")
                socket = await trio_websocket.wrap_client_stream(nursery, tls, "api.test", "/ws/x")
                await socket.send_message("here")
                assert await socket.get_message() == "here"
                code, words = await trust(proxy, tmp_path, crl(pki.root, pki.root_key, (bad,)))
                assert code == 0, words
                with pytest.raises(trio_websocket.ConnectionClosed) as closed:
                    await socket.get_message()
                assert closed.value.reason is not None
                assert closed.value.reason.code == 1012
                await trio.aclose_forcefully(tcp)
                assert await idle.receive_some() == b""
                before = served
                assert (await asked(kept, "api.test"))[0] == 200, "who is accepted still goes on"
                assert "certificate_revoked" in await show.refused(lost)
                assert (await show.get(good))[0] == 200
                while served < before + 5:
                    await trio.lowlevel.checkpoint()
                # another authority: whoever came by the first ends too
                newer = client(pki, issuer="intermediate")
                nursery.cancel_scope.cancel()
            async with show.stream(good) as kept:
                assert (await asked(kept, "api.test"))[0] == 200
                assert (await trust(proxy, tmp_path, pki.intermediate_pem))[0] == 0
                assert await kept.receive_some() == b""
            assert "unknown_ca" in await show.refused(good)
            assert (await show.get(newer))[0] == 200
            refused = await tlsproxy("trust", "remove", "plant", "--store", str(proxy.store))
            assert (refused.returncode, b"trust_in_use" in refused.stderr) == (1, True)
            shown = await tlsproxy("trust", "list", "--json", "--store", str(proxy.store))
            (one,) = json.loads(shown.stdout)["sets"]
            assert (one["rule"], one["anchors"][0]["subject"]) == (
                "api.test; maybe.test",
                "CN=Test Intermediate",
            )
