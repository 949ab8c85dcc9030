"""A whole proxy before a service that insists on TLS: fenced workers, both engines, files that change."""

from __future__ import annotations

import os
import signal
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio_websocket

from tests.live.https_client import Client, trusting_nobody
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.test_metrics import scraped
from tests.live.test_upstream_health import lines, reloaded, status, told
from tests.pki import Pki, to_pem
from tests.secured import a_secure_service, context_for

DEADLINE_S = 180
NAME = "api.service.test"


def config_for(folder: Path, port: int, table: str, *, top: str = "workers = 2", more: str = "") -> Path:
    upstream = f"https://127.0.0.1:{port}"
    config = write_config(folder, {"/": upstream}, top=top, more=more)
    line = f'upstream = "{upstream}"'
    config.write_text(config.read_text().replace(line, f"{line}\n{table}"))
    return config


async def ask(proxy: Proxy) -> int:
    async with Client.to(proxy.port) as client:
        return (await client.get("/")).status


@pytest.mark.parametrize("engine", ["system", "bundled"])
async def test_fenced_workers_ask_a_service_that_wants_a_certificate_of_ours(engine, tmp_path):
    pki, ours = Pki(), Pki()
    device = ours.leaf(("device.test",), eku=False)
    (tmp_path / "ca.pem").write_bytes(to_pem(pki.root))
    (tmp_path / "device.pem").write_bytes(device.chain_pem)
    (tmp_path / "device.key").write_bytes(device.key_pem)
    (tmp_path / "device.key").chmod(0o600)
    ours_too = 'client_certificate = "device.pem", client_key = "device.key"'
    table = f'tls = {{ server_name = "{NAME}", ca_file = "ca.pem", {ours_too} }}\n'
    health = 'health_check = { path = "/healthz", interval_s = 1, timeout_s = 1, rise = 1, fall = 1 }'
    with trio.fail_after(DEADLINE_S):
        roots = to_pem(ours.root).decode()
        async with a_secure_service(pki.leaf((NAME,)), tmp_path, client_roots=roots) as service:
            config = config_for(tmp_path, service.port, table + health, more=f'[tls]\nengine = "{engine}"')
            async with running(config) as proxy:
                # what a worker was born with is enough: the files may go
                for name in ("ca.pem", "device.pem", "device.key"):
                    (tmp_path / name).unlink()
                for _ in range(8):
                    assert await ask(proxy) == 200
                victim = (await status(proxy))["workers"][0]["pid"]
                os.kill(victim, signal.SIGKILL)
                await proxy.wait_log("worker_ended", pid=victim)
                while len([w for w in (await status(proxy))["workers"] if w["stage"] == "accepting"]) < 2:  # noqa: ASYNC110  another process
                    await trio.sleep(0.01)
                for _ in range(8):
                    assert await ask(proxy) == 200
                assert (await status(proxy))["upstreams"][0]["up"]
                assert set(service.certified) == {ssl.PEM_cert_to_DER_cert(device.cert_pem.decode())}
                assert device.key_pem.splitlines()[1] not in bytes(proxy.written)


async def test_a_websocket_goes_through(tmp_path):
    pki = Pki()
    issued = pki.leaf((NAME,))
    (tmp_path / "ca.pem").write_bytes(to_pem(pki.root))

    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await connection.send_message(await connection.get_message())

    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            context = context_for(issued, tmp_path)
            server = await nursery.start(
                lambda task_status: trio_websocket.serve_websocket(
                    echo, "127.0.0.1", 0, context, task_status=task_status
                )
            )
            table = f'tls = {{ server_name = "{NAME}", ca_file = "ca.pem" }}'
            async with running(config_for(tmp_path, server.port, table)) as proxy:
                url = f"wss://device.test:{proxy.port}/"
                stream = await trio.open_tcp_stream("127.0.0.1", proxy.port)
                tls = trio.SSLStream(stream, trusting_nobody(), server_hostname="device.test")
                async with await _client(tls, url, nursery) as connection:
                    for message in ("first", "x" * 200_000):
                        await connection.send_message(message)
                        assert await connection.get_message() == message
            nursery.cancel_scope.cancel()


async def _client(tls, url, nursery):
    host = url.removeprefix("wss://").rstrip("/")
    return await trio_websocket.wrap_client_stream(nursery, tls, host, "/")


async def test_what_is_wrong_is_told_in_log_and_metrics_and_a_new_file_counts_from_a_reload_on(tmp_path):
    pki, strangers = Pki(), Pki()
    (tmp_path / "ca.pem").write_bytes(to_pem(strangers.root))
    table = f'tls = {{ server_name = "{NAME}", ca_file = "ca.pem" }}'
    with trio.fail_after(DEADLINE_S):
        async with (
            a_secure_service(pki.leaf((NAME,)), tmp_path) as service,
            running(config_for(tmp_path, service.port, table)) as proxy,
        ):
            assert await ask(proxy) == 502
            line = await proxy.wait_log("exchange_failed")
            assert line["code"] == "upstream_untrusted"
            assert "isn't trusted" in line["why"]
            upstream = f"https://127.0.0.1:{service.port}"
            assert (await scraped(proxy))["tlsproxy_upstream_errors_total"][upstream, "untrusted"] == 1

            (tmp_path / "ca.pem").write_text("no certificate")
            checked = await tlsproxy("check", "--config", str(tmp_path / "tlsproxy.toml"))
            assert b"can't be asked" in checked.stdout
            refused = await tlsproxy("reload", "--store", str(proxy.store))
            assert refused.returncode != 0
            assert b"can't be asked" in refused.stderr

            (tmp_path / "ca.pem").write_bytes(to_pem(pki.root))
            await reloaded(proxy)
            while await ask(proxy) != 200:  # an old worker may accept a last one
                pass


async def test_an_unready_upstream_keeps_no_other_from_being_served(tmp_path):
    pki = Pki()
    (tmp_path / "ca.pem").write_bytes(to_pem(pki.root))
    with trio.fail_after(DEADLINE_S):
        async with a_secure_service(pki.leaf((NAME,)), tmp_path) as service:
            table = f'tls = {{ server_name = "{NAME}", ca_file = "ca.pem" }}'
            config = config_for(tmp_path, service.port, table)
            more = (
                '[[route]]\npath = "/b"\nupstream = "https://127.0.0.1:1"\ntls = { ca_file = "gone.pem" }\n'
            )
            more += '[[route]]\npath = "/c"\nupstream = "https://127.0.0.1:2"\n'
            more += "tls = { unsafe_no_verify = true }\n"
            config.write_text(config.read_text().replace("[identity]", f"{more}[identity]"))
            async with running(config) as proxy:
                assert await ask(proxy) == 200
                async with Client.to(proxy.port) as client:
                    answer = await client.get("/b")
                assert answer.status == 502
                assert b"upstream_tls_unready" in answer.body
                codes = {one["code"] for one in (await told(proxy, "/v1/health"))["findings"]}
                assert {"upstream_tls_unready", "upstream_unverified"} <= codes
                assert (
                    len(lines(proxy, "upstream_tls_unready")) == len(lines(proxy, "upstream_unverified")) == 1
                )
