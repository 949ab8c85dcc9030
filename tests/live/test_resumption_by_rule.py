"""Nothing is resumed over a client-certificate rule: not from a name that asks nobody, not by a reload.

One certificate has all names here, so that only the rule stands between a session and its use elsewhere
(CVE-2025-23419 was a server that forgot this).
"""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_resumption import REQUEST, in_thread, settled, visit
from tests.tlsproxy.tls_pair import Client, client_context
from tlsproxy.tls.clienthello import parse

DEADLINE_S = 180
VISITS = 20
OPEN, ASKED, MAYBE = "open.test", "asked.test", "maybe.test"
Sessions = Sequence[ssl.SSLSession | None]


def config_of(folder: Path, engine: str, required: str) -> Path:
    rules = f"""
[tls]
engine = "{engine}"
[[client_auth]]
names = ["{required}"]
trust = "plant"
[[client_auth]]
names = ["{MAYBE}"]
mode = "optional"
trust = "plant"
"""
    return write_config(folder, {"/": "http://127.0.0.1:9"}, more=rules, top="workers = 2")


async def prepare(proxy: Proxy, pki, folder: Path) -> Path:
    """Import one certificate for all names, and whom to trust; gives a client's certificate with its key."""
    issued = pki.leaf((OPEN, ASKED, MAYBE))
    shown = pki.leaf(("pump.test",), issuer="root", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    for name, data in {
        "leaf.pem": issued.chain_pem,
        "leaf.key": issued.key_pem,
        "root.pem": pki.root_pem,
        "client.pem": shown.cert_pem + shown.key_pem,
    }.items():
        (folder / name).write_bytes(data)
    receipt = await proxy.certs_import(folder / "leaf.pem", folder / "leaf.key")
    assert receipt["state"] == "confirmed", receipt
    root = str(folder / "root.pem")
    done = await tlsproxy("trust", "import", root, "--name", "plant", "--store", str(proxy.store))
    assert done.returncode == 0, done.stderr
    return folder / "client.pem"


class Visitor:
    """A client with a certificate, which comes again and again."""

    def __init__(self, proxy: Proxy, context: ssl.SSLContext) -> None:
        self.proxy, self.context = proxy, context

    async def sessions(self, name: str) -> Sessions:
        port = self.proxy.port
        return [(await in_thread(visit, port, self.context, None, name))[0] for _ in range(VISITS)]

    async def resumed(self, sessions: Sessions, name: str) -> int:
        """Come back to `name` with each; gives how many were resumed."""
        port = self.proxy.port
        return sum([(await in_thread(visit, port, self.context, one, name))[1] for one in sessions])

    def offered(self, sessions: Sessions, name: str) -> int:
        """Count the sessions whose ticket this client shows to `name`."""
        count = 0
        for session in sessions:
            client = Client(self.context, session, name)
            client.handshake()
            hello = parse(client.take())
            count += bool(hello and hello.ticket)
        return count


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@pytest.mark.parametrize("version", ["TLSv1_3", "TLSv1_2"])
async def test_a_session_resumes_neither_at_another_rule_nor_when_the_rule_has_changed(
    tmp_path, pki, engine, version
):
    with trio.fail_after(DEADLINE_S):
        async with running(config_of(tmp_path, engine, ASKED)) as proxy:
            shown = await prepare(proxy, pki, tmp_path)
            await settled(proxy)
            context = client_context(version=version)
            context.load_cert_chain(shown)
            visitor = Visitor(proxy, context)
            names = (OPEN, ASKED, MAYBE)
            sessions = {name: await visitor.sessions(name) for name in names}
            assert visitor.offered(sessions[OPEN], ASKED) == VISITS, "the client would resume it"
            assert await visitor.resumed(sessions[OPEN], OPEN) >= 0.95 * VISITS
            crossings = [
                (one, to) for one in names for to in names if one != to and {one, to} & {ASKED, MAYBE}
            ]
            assert {pair: await visitor.resumed(sessions[pair[0]], pair[1]) for pair in crossings} == (
                dict.fromkeys(crossings, 0)
            )

            since = len(proxy.log)
            config_of(tmp_path, engine, OPEN)
            done = await tlsproxy("reload", "--store", str(proxy.store))
            assert done.returncode == 0, done.stderr
            await proxy.wait_log("reloaded", since=since)
            assert await visitor.resumed(sessions[OPEN], OPEN) == 0, "it asks now"
            assert await visitor.resumed(sessions[ASKED], ASKED) == 0, "it asks no more"
            again = await visitor.sessions(ASKED)
            assert await visitor.resumed(again, ASKED) >= 0.95 * VISITS


@pytest.mark.parametrize(("option", "refused"), [("-tls1_3", 116), ("-tls1_2", 40)])
async def test_openssl_with_a_session_of_another_name_must_show_its_certificate_all_the_same(
    tmp_path, pki, tool, engine, option, refused
):
    with trio.fail_after(DEADLINE_S):
        async with running(config_of(tmp_path, engine, ASKED)) as proxy:
            shown = await prepare(proxy, pki, tmp_path)

            async def s_client(name: str, *options: str) -> str:
                asking = ["-connect", f"127.0.0.1:{proxy.port}", "-servername", name, "-ign_eof"]
                done = await trio.run_process(
                    [tool("openssl"), "s_client", *asking, option, *options],
                    stdin=REQUEST,
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
                return done.stdout.decode("utf-8", "replace")

            session = str(tmp_path / "session")
            assert "502" in await s_client(OPEN, "-sess_out", session)
            with trio.fail_after(30):
                while "Reused, TLS" not in await s_client(OPEN, "-sess_in", session):
                    pass  # the workers don't know each other's keys yet
            said = await s_client(ASKED, "-sess_in", session)
            assert f"alert number {refused}" in said
            assert "502" not in said
            said = await s_client(ASKED, "-sess_in", session, "-cert", str(shown), "-key", str(shown))
            assert "New, TLS" in said
            assert "502" in said
