"""Metrics of a whole proxy: added over its workers, and never going back, whatever happens to them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import httpx2
import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, tlsproxy, write_config
from tests.live.workers import is_alive
from tests.pki import Pki
from tests.scraping import Series, parsed

DEADLINE_S = 90


async def scraped(proxy: Proxy) -> dict[str, Series]:
    """Ask the control socket, and read the answer by Prometheus' own parser."""

    def ask() -> httpx2.Response:
        transport = httpx2.HTTPTransport(uds=str(proxy.store / "run" / "control.sock"))
        with httpx2.Client(transport=transport, base_url="http://tlsproxy") as client:
            return client.get("/v1/metrics")

    answer = await trio.to_thread.run_sync(ask)
    assert answer.status_code == 200
    return parsed(answer.text)


def went_back(before: dict[str, Series], after: dict[str, Series]) -> list[tuple[str, tuple[str, ...]]]:
    """List the counters that are smaller than they were, or gone."""
    counters = {name for name in before if name.endswith(("_total", "_bucket", "_count", "_sum"))}
    return [
        (name, labels)
        for name in counters
        for labels, value in before[name].items()
        if after.get(name, {}).get(labels, -1.0) < value
    ]


async def asked_on_new_connections(proxy: Proxy, times: int) -> None:
    for number in range(times):
        async with Client.to(proxy.port) as client:
            assert (await client.get(f"/{number}")).status == 200


async def test_counters_are_those_of_all_workers_and_never_go_back(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:
            routes = {"/": f"http://127.0.0.1:{http}", "/dead": "http://127.0.0.1:9"}
            async with running(write_config(tmp_path, routes, top="workers = 2")) as proxy:
                await asked_on_new_connections(proxy, 20)
                first = await scraped(proxy)
                assert first["tlsproxy_requests_total"] == {("/", "2xx"): 20}
                assert first["tlsproxy_connections_accepted_total"] == {(): 20}
                assert sum(first["tlsproxy_handshakes_total"].values()) == 20
                assert first["tlsproxy_sent_bytes_total"][()] > 20 * 1000
                assert first["tlsproxy_workers"][("accepting",)] == 2

                # a worker is killed
                victim = (await proxy.status())["workers"][0]["pid"]
                since = len(proxy.log)
                os.kill(victim, signal.SIGKILL)
                await proxy.wait_log("worker_ended", since=since, pid=victim)
                second = await scraped(proxy)
                assert not went_back(first, second)
                assert second["tlsproxy_requests_total"] == {("/", "2xx"): 20}
                assert second["tlsproxy_worker_deaths_total"] == {(): 1}

                # the supervisor executes itself anew, and all workers are replaced
                before = [worker["pid"] for worker in (await proxy.status())["workers"]]
                await asked_on_new_connections(proxy, 10)
                assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
                while any(is_alive(pid) for pid in before):  # noqa: ASYNC110  another program's children
                    await trio.sleep(0.02)
                async with Client.to(proxy.port) as client:
                    assert (await client.get("/dead")).status == 502
                third = await scraped(proxy)
                assert not went_back(second, third)
                assert third["tlsproxy_requests_total"] == {("/", "2xx"): 30, ("/dead", "5xx"): 1}
                assert third["tlsproxy_upstream_errors_total"]["http://127.0.0.1:9", "unreachable"] == 1
                assert third["tlsproxy_reloads_total"] == {(): 1}
                assert third["tlsproxy_start_time_seconds"] == first["tlsproxy_start_time_seconds"]


async def test_certificates_receipts_and_the_rung_are_told(tmp_path: Path, pki: Pki) -> None:
    with trio.fail_after(DEADLINE_S):
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top="workers = 1")
        async with running(config) as proxy:
            issued = pki.leaf(("device.test",))
            file = tmp_path / "device.pem"
            file.write_bytes(issued.key_pem + issued.chain_pem)
            assert (await proxy.certs_import(file))["state"] == "confirmed"
            file.write_bytes(b"nonsense")
            assert (await proxy.certs_import(file))["state"] == "refused"
            found = await scraped(proxy)
            assert found["tlsproxy_receipts_total"]["customer", "confirmed"] == 1
            assert found["tlsproxy_receipts_total"]["customer", "refused"] == 1
            assert found["tlsproxy_findings_total"]["unparsable", "error"] == 1
            ends = found["tlsproxy_certificate_not_after_timestamp_seconds"]
            assert (
                ends["device.test", "customer", "served"]
                == issued.certificate.not_valid_after_utc.timestamp()
            )
            assert ("device.test", "generated", "fallback") in ends
            assert [rung for (rung,), value in found["tlsproxy_rung"].items() if value] == ["wanted"]
            assert found["tlsproxy_active_generation"] == {(): 2}


async def test_a_port_of_this_machine_tells_metrics_and_nothing_else(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        top = 'workers = 1\nmetrics_listen = "127.0.0.1:0"'
        config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top=top)
        async with running(config) as proxy:
            port = (await proxy.wait_log("metrics_listening"))["port"]
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                answer = await client.get("/metrics")
                assert "tlsproxy_build_info" in parsed(answer.text)
                assert (await client.get("/v1/status")).status_code == 404
                assert (await client.post("/metrics")).status_code == 405


async def test_who_leaves_the_metrics_port_half_way_ends_nobody_but_himself(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        top = 'workers = 1\nmetrics_listen = "127.0.0.1:0"'
        async with running(write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top=top)) as proxy:
            port = (await proxy.wait_log("metrics_listening"))["port"]
            halves = (
                b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
                b"GET /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
                b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
                b"nonsense\r\n\r\n",
            )
            for half in halves * 10:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(half)
                await stream.aclose()
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                assert (await client.get("/metrics")).status_code == 200
            assert (await proxy.status())["process"]["epoch"] == 1


async def test_the_metrics_port_answers_after_a_reload(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        top = f'workers = 1\nmetrics_listen = "127.0.0.1:{port}"'
        async with running(write_config(tmp_path, {"/": "http://127.0.0.1:9"}, top=top)) as proxy:
            for _ in range(2):
                since = len(proxy.log)
                async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                    assert (await client.get("/metrics")).status_code == 200
                assert (await tlsproxy("reload", "--store", str(proxy.store))).returncode == 0
                await proxy.wait_log("metrics_listening", since=since)


async def test_a_metrics_port_that_is_taken_keeps_nobody_from_serving(tmp_path: Path) -> None:
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http:  # it serves, and takes the port
            top = f'workers = 1\nmetrics_listen = "127.0.0.1:{http}"'
            async with running(write_config(tmp_path, {"/": f"http://127.0.0.1:{http}"}, top=top)) as proxy:
                line = await proxy.wait_log("metrics_not_listening")
                assert line["why"] == "address already in use"
                await asked_on_new_connections(proxy, 1)
