"""Clients that come back resume their sessions, whichever worker gets them; and never across certificates."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.live.proxy_process import Proxy, running, write_config
from tests.tlsproxy.tls_pair import client_context

CLIENTS = 1000
REQUEST = b"GET / HTTP/1.1\r\nHost: device.test\r\nConnection: close\r\n\r\n"


def visit(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None, name: str = "device.test"
) -> tuple[ssl.SSLSession | None, bool]:
    """Ask for a page; gives the session to come back with, and whether this one was resumed."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as sock,
        context.wrap_socket(sock, server_hostname=name, session=session) as tls,
    ):
        tls.sendall(REQUEST)
        answer = b""
        with suppress(ssl.SSLEOFError):
            while data := tls.recv(65_536):
                answer += data
        assert answer.startswith(b"HTTP/1.1 502 ")
        return tls.session, bool(tls.session_reused)


def first_visits(port: int, count: int, context: ssl.SSLContext) -> list[ssl.SSLSession | None]:
    return [visit(port, context, None)[0] for _ in range(count)]


def returning(port: int, version: str) -> int:
    """Let `CLIENTS` clients come and come back; gives how many resumed."""
    context = client_context(version=version)
    return sum(visit(port, context, session)[1] for session in first_visits(port, CLIENTS, context))


def config_of(folder: Path, workers: int, engine: str) -> Path:
    more = f'[tls]\nengine = "{engine}"\n'
    return write_config(folder, {"/": "http://127.0.0.1:9"}, more=more, top=f"workers = {workers}")


async def in_thread(act, *arguments):
    return await trio.to_thread.run_sync(act, *arguments)


async def settled(proxy: Proxy) -> None:
    """Wait until the workers know each other's keys."""
    with trio.fail_after(30):
        context = client_context(version="TLSv1_3")
        streak = 0
        while streak < 20:
            session, _ = await in_thread(visit, proxy.port, context, None)
            _, resumed = await in_thread(visit, proxy.port, context, session)
            streak = streak + 1 if resumed else 0


@pytest.mark.parametrize(
    ("workers", "engine", "version"),
    [(2, "system", "TLSv1_3"), (4, "bundled", "TLSv1_3"), (2, "bundled", "TLSv1_2")],
)
async def test_clients_that_come_back_resume_with_several_workers(tmp_path, workers, engine, version):
    with trio.fail_after(300):
        async with running(config_of(tmp_path, workers, engine)) as proxy:
            await settled(proxy)
            resumed = await in_thread(returning, proxy.port, version)
            status = await proxy.status()
    assert resumed >= 0.95 * CLIENTS
    assert len(status["workers"]) == workers


async def test_nothing_resumes_across_a_swap_and_other_names_keep_their_sessions(tmp_path, pki):
    names = ["swapped.test", "kept.test"]
    with trio.fail_after(120):
        async with running(config_of(tmp_path, 2, "system")) as proxy:
            for name in names:
                await import_leaf(proxy, pki, tmp_path, name)
            context = client_context(version="TLSv1_3")
            await settled(proxy)
            sessions = {
                name: [(await in_thread(visit, proxy.port, context, None, name))[0] for _ in range(40)]
                for name in names
            }
            await import_leaf(proxy, pki, tmp_path, "swapped.test")
            resumed: Counter[str] = Counter()
            for name in names:
                for session in sessions[name]:
                    _, again = await in_thread(visit, proxy.port, context, session, name)
                    resumed[name] += again
            crossed = [
                (await in_thread(visit, proxy.port, context, session, "swapped.test"))[1]
                for session in sessions["kept.test"]
            ]
    assert resumed["swapped.test"] == 0
    assert resumed["kept.test"] >= 38
    assert not any(crossed), "a session of one row resumes in no other"


async def import_leaf(proxy: Proxy, pki, folder: Path, name: str) -> None:
    issued = pki.leaf((name,))
    (folder / "leaf.pem").write_bytes(issued.chain_pem)
    (folder / "leaf.key").write_bytes(issued.key_pem)
    receipt = await proxy.certs_import(folder / "leaf.pem", folder / "leaf.key")
    assert receipt["state"] == "confirmed", receipt


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
async def test_a_client_whose_worker_is_killed_or_hangs_is_served_by_another(tmp_path, how):
    with trio.fail_after(120):
        async with running(config_of(tmp_path, 2, "system")) as proxy:
            await settled(proxy)
            context = client_context(version="TLSv1_3")
            sessions = await in_thread(first_visits, proxy.port, 40, context)
            status = await proxy.status()
            os.kill(status["workers"][0]["pid"], how)
            await proxy.wait_log("worker_ended", pid=status["workers"][0]["pid"])
            again = [await in_thread(visit, proxy.port, context, one) for one in sessions]
            assert len(again) == len(sessions), "everybody is served"
            await settled(proxy)
