"""The proof that a new certificate lets people in: one request over the connection that it serves."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import h11
import trio

from tests.live.https_client import Answer, Client
from tests.live.peers import http_service
from tests.live.proxy_process import running, tlsproxy, write_config
from tests.pki import Pki

DEADLINE_S = 120
PATH = "/.well-known/tlsproxy/confirm"


async def confirm(client: Client, word: str) -> Answer:
    """Send a word as `curl -d` does."""
    headers = [("host", "device.test"), ("content-length", str(len(word)))]
    await client.send(h11.Request(method="POST", target=PATH, headers=headers))
    await client.send(h11.Data(data=word.encode()))
    await client.send(h11.EndOfMessage())
    head = await client._next()
    assert isinstance(head, h11.Response)
    return Answer(head.status_code, dict(head.headers), b"".join([part async for part in client.parts()]))


async def test_a_client_that_trusts_the_new_certificate_confirms_it_and_an_old_connection_proves_nothing(
    tmp_path: Path, pki: Pki
) -> None:
    issued = pki.leaf(names=("device.test", "localhost"))
    (tmp_path / "new.pem").write_bytes(issued.chain_pem + issued.key_pem)
    trusting = ssl.create_default_context(cadata=pki.root_pem.decode("ascii"))
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top="workers = 2")
            async with running(config) as proxy, Client.to(proxy.port) as before:
                assert (await before.get("/1")).status == 200
                words = ("--confirm-within", "600", "--json", "--store", str(proxy.store))
                done = await tlsproxy("certs", "import", str(tmp_path / "new.pem"), *words)
                document = json.loads(done.stdout)
                assert document["state"] == "live", document
                word = document["confirm_word"]

                refused = await confirm(before, word)
                assert (refused.status, refused.headers[b"connection"]) == (409, b"close")
                assert await before.ended(), "so that its next try is a new connection"

                async with Client.to(proxy.port, context=trusting) as guessing:
                    assert (await confirm(guessing, "0" * 32)).status == 409
                async with Client.to(proxy.port, context=trusting) as client:
                    assert (await confirm(client, word)).status == 204
                    assert (await confirm(client, word)).status == 204, "its answer might have got lost"
                    assert (await client.get("/3")).status == 200
                line = await proxy.wait_log("receipt", id=document["id"], state="confirmed")
                assert line["by"] == "wire"
            assert word.encode() not in proxy.written
            audit = (proxy.store / "audit.jsonl").read_text()
            assert '"by":"wire"' in audit.replace(" ", "")
            assert word not in audit
