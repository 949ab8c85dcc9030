"""From nothing to "the customer's certificate is live" by what `--help` says, and nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, _follow
from tests.live.test_reload import free_port

DEADLINE_S = 120


class Shell:
    """A folder of a person's own, in which `tlsproxy` is a command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = folder / "bin" / "tlsproxy"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tlsproxy "$@"\n')
        command.chmod(0o755)
        source = str(Path(__file__).parents[2])
        self.env = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": source}

    async def says(self, line: str) -> str:
        """Run a line; it must end well."""
        done = await trio.run_process(
            ["bash", "-c", line],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=self.folder,
            env=self.env,
        )
        assert done.returncode == 0, (line, done.stderr)
        return done.stdout.decode()

    async def example(self, command: str, pattern: str) -> str:
        """Find the example in a command's help that fits a pattern."""
        told = await self.says(f"{command} --help")
        _, _, below = told.partition("Examples:\n")
        found = [line.strip() for line in below.splitlines() if re.search(pattern, line)]
        assert found, (command, pattern, below)
        return found[0]


async def test_a_new_user_gets_from_nothing_to_a_live_certificate_by_help_alone(tmp_path: Path, pki) -> None:
    leaf = pki.leaf()
    shell = Shell(tmp_path)
    (tmp_path / "device.crt").write_bytes(leaf.chain_pem)
    (tmp_path / "device.key").write_bytes(leaf.key_pem)
    (tmp_path / "ca.crt").write_bytes(leaf.chain_pem)
    with trio.fail_after(DEADLINE_S):
        async with http_service() as http, trio.open_nursery() as nursery:
            port = free_port()
            run = await shell.example("tlsproxy", r"tlsproxy run --listen .*--store")
            run = run.replace("127.0.0.1:8443", f"127.0.0.1:{port}").replace(
                "127.0.0.1:3000", f"127.0.0.1:{http}"
            )
            assert str(port) in run
            assert str(http) in run
            process = await trio.lowlevel.open_process(
                ["bash", "-c", f"exec {run}"], stderr=subprocess.PIPE, cwd=tmp_path, env=shell.env
            )
            proxy = Proxy(process, tmp_path / "store", port, None)
            nursery.start_soon(_follow, process, proxy)
            try:
                await proxy.wait_log("serving")
                own = await fingerprint(port)
                told = await shell.says(
                    await shell.example("tlsproxy certs import", r"--store \./store device\.crt")
                )
                assert "live" in told
                assert await fingerprint(port) == leaf.bundle().fingerprint != own
                line = await shell.example("tlsproxy status", r"--store")
                shown = await shell.says(line)
                assert "customer" in shown
                line = await shell.example("tlsproxy certs remove", r"tlsproxy certs remove$")
                await shell.says(f"{line} --store ./store")
                assert await fingerprint(port) == own
            finally:
                process.send_signal(signal.SIGTERM)
                with trio.CancelScope(shield=True):
                    await process.wait()
                nursery.cancel_scope.cancel()


async def fingerprint(port: int) -> str:
    async with Client.to(port) as client:
        assert (await client.get("/")).status == 200
        return client.fingerprint
