"""TLS with openssl s_client, which can do what Python's ssl can't: new keys, and asking to renegotiate."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.tlsproxy.tls_wire import table_of
from tlsproxy.errors import HandshakeError
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import Context, make_context
from tlsproxy.tls.handshake import accept_tls

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl (Debian package openssl) is not installed"
)


@pytest.fixture(params=["system", "bundled"])
def context(request, pki) -> Context:
    return make_context(pki.leaf().bundle(), TLSPolicy(), request.param)


class SClient:
    """A running s_client; `says` waits until it has printed something."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.printed = b""

    async def types(self, line: bytes) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line)

    async def says(self, text: bytes) -> None:
        assert self.process.stdout is not None
        while text not in self.printed:
            more = await self.process.stdout.receive_some()
            assert more, self.printed
            self.printed += more
        self.printed = self.printed.partition(text)[2]


@asynccontextmanager
async def echoing(context: Context, *options: str) -> AsyncIterator[SClient]:
    """Run s_client against a server that sends back, in capitals, what it gets."""

    async def serve(listener: socket.socket) -> None:
        await trio.lowlevel.wait_readable(listener)
        sock, _ = listener.accept()
        sock.setblocking(False)
        with sock, contextlib.suppress(HandshakeError, trio.BrokenResourceError):
            stream = await accept_tls(sock, table_of(context))
            while data := await stream.receive_some():
                await stream.send_all(data.upper())

    with trio.fail_after(30), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        command = ["openssl", "s_client", "-brief", "-connect", f"127.0.0.1:{port}", *options]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener)
            process = await nursery.start(partial(trio.run_process, command, check=False, **pipes))
            async with process.stdin, process.stdout:
                yield SClient(process)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("command", [b"K\n", b"k\n"], ids=["both directions", "one direction"])
async def test_new_keys_in_the_middle_of_a_connection_lose_nothing(context, command):
    async with echoing(context, "-tls1_3") as client:
        for _ in range(3):
            await client.types(b"some line\n")
            await client.says(b"SOME LINE\n")
            await client.types(command)
            await client.says(b"KEYUPDATE")
        await client.types(b"the last line\n")
        await client.says(b"THE LAST LINE\n")


async def test_a_client_that_asks_to_renegotiate_does_not_get_it(context):
    async with echoing(context, "-tls1_2") as client:
        await client.types(b"some line\n")
        await client.says(b"SOME LINE\n")
        await client.types(b"R\n")
        await client.says(b"RENEGOTIATING")
        await client.says(b"no renegotiation")


async def test_the_default_handshake_of_openssl_is_served(context):
    async with echoing(context, "-servername", "device.test", "-alpn", "http/1.1") as client:
        await client.says(b"Protocol version: TLSv1.3")
        await client.types(b"some line\n")
        await client.says(b"SOME LINE\n")


@pytest.mark.parametrize(
    ("options", "alert"),
    [
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), b"protocol version"),
        (("-tls1_2", "-cipher", "AES128-SHA"), b"handshake failure"),
        (("-alpn", "h2"), b"no application protocol"),
    ],
    ids=["TLS 1.1", "CBC with static RSA", "h2 only"],
)
async def test_what_is_not_spoken_is_refused_by_the_right_alert(context, options, alert):
    async with echoing(context, *options) as client:
        await client.says(alert)
