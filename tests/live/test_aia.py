"""A certificate without its issuer's, handed to a whole proxy: by command, by inbox, and without a proxy."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import trio
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certstore.test_issuers_missing import alone, pointing
from tests.errands import Library, a_library, answer
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.pki import Issued, Pki

DEADLINE_S = 90
ALLOWED = '[checks]\naia = true\naia_allow = ["127.0.0.0/8"]'


def configured(folder: Path, more: str) -> Path:
    return write_config(folder, {"/": "http://127.0.0.1:9"}, top="workers = 1", more=more)


def issued_by(pki: Pki, library: Library) -> Issued:
    library.pages["/ca.cer"] = answer(pki.intermediate.public_bytes(Encoding.DER))
    return alone(pki.leaf(tweak=pointing(library.url("/ca.cer"))))


async def believed(proxy: Proxy, pki: Pki) -> str:
    """Shake hands as a client that knows the root only; gives the serial number of what is served."""
    context = ssl.create_default_context(cadata=pki.root_pem.decode())
    tcp = await trio.open_tcp_stream("127.0.0.1", proxy.port)
    async with trio.SSLStream(tcp, context, server_hostname="device.test", https_compatible=True) as stream:
        await stream.do_handshake()
        return str(stream.getpeercert()["serialNumber"])


def codes_of(findings: list[dict[str, str]]) -> list[str]:
    """Give the codes, without what depends on this machine's list of roots."""
    return [one["code"] for one in findings if one["code"] != "unknown_root"]


def hold(file: Path, issued: Issued) -> Path:
    file.write_bytes(issued.key_pem + issued.cert_pem)
    return file


async def test_an_imported_leaf_is_served_with_the_chain_that_its_authority_offers(tmp_path, pki):
    with trio.fail_after(DEADLINE_S):
        async with a_library() as library, running(configured(tmp_path, ALLOWED)) as proxy:
            issued = issued_by(pki, library)
            receipt = await proxy.certs_import(hold(tmp_path / "device.pem", issued))
            assert receipt["state"] == "confirmed", receipt
            assert codes_of(receipt["findings"]) == ["issuer_fetched"]
            assert int(await believed(proxy, pki), 16) == issued.certificate.serial_number
            # the next one comes by the inbox, and its authority is down
            library.pages.clear()
            following = alone(pki.leaf(tweak=pointing(library.url("/ca.cer"))))
            hold(proxy.inbox / "next.pem", following)
            line = await proxy.wait_log("receipt", via="inbox", state="confirmed")
            assert "issuer_kept" in line["codes"]
            assert int(await believed(proxy, pki), 16) == following.certificate.serial_number
            assert library.asked == ["/ca.cer"]


async def test_an_authority_that_answers_nothing_holds_up_nobody_for_long(tmp_path, pki):
    async def hang(_stream: trio.SocketStream, _head: bytes) -> None:
        await trio.sleep_forever()

    with trio.fail_after(DEADLINE_S):
        async with a_library() as library, running(configured(tmp_path, ALLOWED)) as proxy:
            issued = issued_by(pki, library)
            library.pages["/ca.cer"] = hang
            receipt = await proxy.certs_import(hold(tmp_path / "device.pem", issued))
            assert receipt["state"] == "confirmed", "a chain that lacks something is better than none"
            assert codes_of(receipt["findings"]) == ["incomplete_chain", "issuer_not_fetched"]


async def test_unasked_nothing_is_fetched(tmp_path, pki):
    with trio.fail_after(DEADLINE_S):
        async with a_library() as library, running(configured(tmp_path, "")) as proxy:
            receipt = await proxy.certs_import(hold(tmp_path / "device.pem", issued_by(pki, library)))
            assert codes_of(receipt["findings"]) == ["incomplete_chain", "issuer_known_at"]
            assert library.heads == []


async def test_without_a_proxy_the_command_fetches_as_the_configuration_says(tmp_path, pki):
    with trio.fail_after(DEADLINE_S):
        async with a_library() as library:
            config = configured(tmp_path, ALLOWED)
            file = hold(tmp_path / "device.pem", issued_by(pki, library))
            done = await tlsproxy("certs", "import", str(file), "--config", str(config), "--json")
            receipt = json.loads(done.stdout)
            assert codes_of(receipt["findings"]) == ["issuer_fetched"], done.stderr
            assert library.asked == ["/ca.cer"]
            told = await tlsproxy("doctor", str(file), "--config", str(config), "--json")
            assert "issuer_known_at" in told.stdout.decode(), "the doctor looks offline"
            assert library.asked == ["/ca.cer"]
