"""A whole proxy asks OpenSSL's own responder about its certificate, and OpenSSL's client sees the staple."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import trio

from tests.errands import Library, a_library, answer
from tests.live.proxy_process import Proxy, running, write_config
from tests.pki import Issued, Pki, key_to_pem, to_pem
from tests.responding import delegate, with_responder

DEADLINE_S = 120
WATCHED = '[checks]\nrevocation = true\nrevocation_s = 1.0\nrevocation_allow = ["127.0.0.0/8"]'
NONE_SENT = b"OCSP response: no response sent"


@dataclass
class OpenSSLResponder:
    """`openssl ocsp` answers for the intermediate of a Pki, out of its index (ca(1)).

    Carried by a server on loopback: with -port it would listen on all addresses.
    """

    folder: Path
    library: Library

    @classmethod
    def make(cls, folder: Path, pki: Pki, library: Library) -> Self:
        folder.mkdir()
        signer = delegate(pki, start=utc() - timedelta(hours=1))
        (folder / "ca.pem").write_bytes(to_pem(pki.intermediate))
        (folder / "signer.pem").write_bytes(to_pem(signer.certificate) + key_to_pem(signer.key))
        made = cls(folder, library)
        library.pages["/ocsp"] = made.answer
        return made

    @property
    def url(self) -> str:
        return self.library.url("/ocsp")

    def knows(self, issued: Issued, revoked: str = "") -> None:
        """Write the index: valid, or revoked for this reason."""
        number = f"{issued.certificate.serial_number:X}"
        number = number if len(number) % 2 == 0 else f"0{number}"
        ends, now = (f"{at:%y%m%d%H%M%SZ}" for at in (issued.certificate.not_valid_after_utc, utc()))
        line = f"R\t{ends}\t{now},{revoked}" if revoked else f"V\t{ends}\t"
        (self.folder / "index.txt").write_text(f"{line}\t{number}\tunknown\t/CN=device.test\n")

    async def answer(self, stream: trio.SocketStream, _head: bytes) -> None:
        await trio.Path(self.folder / "asked.der").write_bytes(self.library.bodies[-1])
        command = ["openssl", "ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "signer.pem"]
        command += ["-ndays", "1", "-reqin", "asked.der", "-respout", "answer.der"]
        await trio.run_process(command, cwd=self.folder, capture_stdout=True, capture_stderr=True)
        await stream.send_all(answer(await trio.Path(self.folder / "answer.der").read_bytes()))


def utc() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def a_responder(folder: Path, pki: Pki) -> AsyncIterator[OpenSSLResponder]:
    async with a_library() as library:
        yield OpenSSLResponder.make(folder, pki, library)


async def looked(proxy: Proxy) -> bytes:
    """Say what OpenSSL's client sees of a new connection."""
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{proxy.port}",
        "-servername",
        "device.test",
        "-status",
    ]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert b"BEGIN CERTIFICATE" in done.stdout, done.stderr
    return done.stdout


async def wait_seen(proxy: Proxy, words: bytes) -> bytes:
    """Look until it sees that; who never does meets the deadline."""
    while words not in (seen := await looked(proxy)):
        pass
    return seen


def hold(folder: Path, issued: Issued) -> Path:
    file = folder / "device.pem"
    file.write_bytes(issued.key_pem + issued.chain_pem)
    return file


async def test_a_good_answer_is_stapled_and_withdrawn_when_the_certificate_is_revoked(tmp_path, pki):
    with trio.fail_after(DEADLINE_S):
        async with a_responder(tmp_path / "ocsp", pki) as responder:
            issued = pki.leaf(tweak=with_responder(responder.url, must_staple=True))
            responder.knows(issued)
            config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 2", more=WATCHED)
            async with running(config) as proxy:
                receipt = await proxy.certs_import(hold(tmp_path, issued))
                assert "must_staple" in [one["code"] for one in receipt["findings"]], receipt
                seen = await wait_seen(proxy, b"Cert Status: good")
                assert b"OCSP Response Status: successful" in seen
                line = await proxy.wait_log("revocation_answered", status="good", way="ocsp")
                assert line["names"] == "device.test"
                responder.knows(issued, revoked="keyCompromise")
                told = await proxy.wait_log("finding", code="certificate_revoked")
                assert "keyCompromise" in told["words"]
                await wait_seen(proxy, NONE_SENT)
                status = await proxy.status()
                assert status["bundles"], "an alarm is no reason to serve nobody"


async def test_a_revoked_certificate_gives_way_to_a_good_one_of_another_source(tmp_path, pki):
    with trio.fail_after(DEADLINE_S):
        async with a_responder(tmp_path / "ocsp", pki) as responder:
            issued, ready = pki.leaf(tweak=with_responder(responder.url)), pki.leaf()
            responder.knows(issued)
            watched = trio.Path(tmp_path / "live")
            await watched.mkdir()
            await (watched / "ready.pem").write_bytes(ready.key_pem + ready.chain_pem)
            more = f'{WATCHED}\n[[watch]]\npath = "{watched}"\nslot = "acme"'
            config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 2", more=more)
            async with running(config) as proxy:
                await proxy.wait_log("receipt", state="confirmed", source="acme")
                await proxy.certs_import(hold(tmp_path, issued))
                await wait_seen(proxy, b"Cert Status: good")
                responder.knows(issued, revoked="superseded")
                await proxy.wait_log("rows_moved", cause="revocation")
                seen = await looked(proxy)
                assert to_pem(ready.certificate) in seen
                assert NONE_SENT in seen
                assert (await proxy.status())["rung"] == "fallback"
            async with running(config) as proxy:
                assert to_pem(ready.certificate) in await looked(proxy)


async def test_a_responder_that_has_gone_leaves_the_staple_also_after_a_restart(tmp_path, pki):
    with trio.fail_after(DEADLINE_S):
        async with a_responder(tmp_path / "ocsp", pki) as responder:
            issued = pki.leaf(tweak=with_responder(responder.url))
            responder.knows(issued)
            config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 2", more=WATCHED)
            async with running(config) as proxy:
                await proxy.certs_import(hold(tmp_path, issued))
                await wait_seen(proxy, b"Cert Status: good")
                responder.library.pages.clear()
                await proxy.wait_log("revocation_unanswered", failures=2)
                assert b"Cert Status: good" in await looked(proxy)
            async with running(config) as proxy:
                await wait_seen(proxy, b"Cert Status: good")
                await proxy.wait_log("revocation_unanswered")
                assert b"Cert Status: good" in await looked(proxy)


async def test_unasked_nothing_is_asked_and_nothing_stapled(tmp_path, pki):
    with trio.fail_after(DEADLINE_S):
        async with a_responder(tmp_path / "ocsp", pki) as responder:
            issued = pki.leaf(tweak=with_responder(responder.url))
            responder.knows(issued)
            config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
            async with running(config) as proxy:
                await proxy.certs_import(hold(tmp_path, issued))
                assert NONE_SENT in await looked(proxy)
                assert not [line for line in proxy.log if line["event"].startswith("revocation")]
                assert not (proxy.store / "revocation.json").exists()
