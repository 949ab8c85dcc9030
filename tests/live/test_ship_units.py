"""A unit over the production line by the very scripts of docs/ship-units.md, and then in use."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import running, tlsproxy, write_config
from tests.manufacturing import FOR_EVER, answer

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "ship-units.md"
SERIAL, NAME = "000123", "px-000123.devices.example"
DEADLINE_S = 150


class Line:
    """A folder with the page's scripts, an authority, and a unit that is reached by nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        blocks = re.findall(r"^```sh\n# (\w+\.sh)(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        for name, script in blocks:
            (folder / name).write_text(f"#{script}")
        assert [name for name, _ in blocks] == ["authority.sh", "line.sh"]
        program = folder / "bin" / "tlsproxy"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tlsproxy "$@"\n')
        program.chmod(0o755)

    def run(self, *words: str, code: int = 0) -> str:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", *words],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "TLSPROXY_STORE": str(self.store), "UNIT": ""},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    def facts(self, serial: str = SERIAL) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.folder / f"{serial}.json").read_text())
        return facts


@pytest.fixture
def line(tmp_path: Path, tool) -> Line:
    tool("openssl")
    made = Line(tmp_path)
    made.run("authority.sh")
    return made


def test_the_pages_scripts_give_a_unit_its_identity_and_may_be_run_again(line):
    line.run("line.sh", SERIAL)
    facts = line.facts()
    assert (facts["state"], facts["serial"], facts["names"]) == ("provisioned", f"PX-{SERIAL}", [NAME])
    assert facts["not_after"].startswith("9999-12-3")
    assert facts["sealed"] is True
    label = (line.folder / f"{SERIAL}.svg").read_text()
    assert facts["spki_sha256"][:4].upper() in label
    assert facts["sha256"][-4:].upper() in label
    line.run("line.sh", SERIAL)
    assert line.facts() == facts


def test_a_line_that_was_interrupted_goes_on_with_the_same_key(line):
    script = (line.folder / "line.sh").read_text()
    # the power fails once the certificate is signed
    (line.folder / "cut.sh").write_text(script.replace("    on_unit factory install -\n", "    exit 9\n"))
    line.run("cut.sh", SERIAL, code=9)
    first = (line.folder / f"{SERIAL}.csr").read_bytes()
    line.run("line.sh", SERIAL)
    assert (line.folder / f"{SERIAL}.csr").read_bytes() == first
    assert line.facts()["state"] == "provisioned"


def test_two_units_whose_certificates_were_swapped_are_told(line):
    script = (line.folder / "line.sh").read_text()
    (line.folder / "swap.sh").write_text(script.replace("input=$serial.pem", "input=other.pem"))
    line.run("line.sh", "000124")
    (line.folder / "000124.pem").rename(line.folder / "other.pem")
    line.store = line.folder / "store of another unit"
    assert "[factory_not_ours]" in line.run("swap.sh", SERIAL, code=1)
    line.run("line.sh", SERIAL)


async def test_the_factorys_certificate_is_served_gives_way_to_the_customers_and_comes_back(line, pki, tool):
    await trio.to_thread.run_sync(line.run, "line.sh", SERIAL)
    factory = line.facts()
    issued = pki.leaf((NAME,))
    customers = line.folder / "customer.pem"
    await trio.Path(customers).write_bytes(issued.chain_pem + issued.key_pem)
    place = ("--store", str(line.store))

    async def served(port: int) -> str:
        async with Client.to(port, server_name=NAME) as client:
            assert (await client.get("/echo")).status == 200
            return client.fingerprint

    with trio.fail_after(DEADLINE_S):
        async with http_service() as upstream:
            config = write_config(line.folder, {"/": f"http://127.0.0.1:{upstream}"})
            async with running(config) as proxy:
                assert await served(proxy.port) == factory["sha256"]
                verified = ssl.create_default_context(cafile=str(line.folder / "ca.pem"))
                async with Client.to(proxy.port, server_name=NAME, context=verified) as client:
                    assert client.fingerprint == factory["sha256"]
                await see_that_the_labels_pin_holds(proxy.port, place, tool("curl"))
                assert (await proxy.certs_import(customers))["state"] == "confirmed"
                assert await served(proxy.port) == issued.bundle().fingerprint
                done = await tlsproxy("certs", "remove", NAME, "--source", "factory", *place, "--json")
                assert done.returncode == 1
                assert b"slot_sealed" in done.stdout
                done = await tlsproxy("certs", "remove", NAME, "--source", "customer", *place)
                assert done.returncode == 0, done.stderr
                assert await served(proxy.port) == factory["sha256"]
                done = await tlsproxy("status", *place)
                groups = factory["spki_sha256"].upper()
                assert f"{groups[:4]} {groups[4:8]} {groups[8:12]}".encode() in done.stdout


async def see_that_the_labels_pin_holds(port: int, place: tuple[str, ...], curl: str) -> None:
    """Ask as docs/browser-warning.md says, with the pin of the label's code, and with another."""
    done = await tlsproxy("label", *place, "--json")
    pin = json.loads(done.stdout)["qr"].partition("#")[2]
    other = pin.translate(str.maketrans("ABCabc012", "BCAbca120"))
    for said, code in ((pin, 0), (other, 90)):  # CURLE_SSL_PINNEDPUBKEYNOTMATCH
        url = f"https://{NAME}:{port}/echo"
        resolve = f"{NAME}:{port}:127.0.0.1"
        command = [curl, "--silent", "--insecure", "--resolve", resolve, "--pinnedpubkey", said, url]
        done = await trio.run_process(command, capture_stdout=True, check=False)
        assert done.returncode == code


async def test_a_running_unit_is_provisioned_and_serves_its_identity_at_once(tmp_path, pki):
    with trio.fail_after(DEADLINE_S):
        async with http_service() as upstream:
            config = write_config(tmp_path, {"/": f"http://127.0.0.1:{upstream}"})
            async with running(config) as proxy:
                place = ("--config", str(config), "--json")
                done = await tlsproxy("factory", "provision", "--serial", "PX-1", *place)
                asked = json.loads(done.stdout)
                assert (asked["state"], asked["names"]) == ("waiting", ["device.test"])
                ((_, certificate), (_, chain)) = answer(pki, asked["csr"]).files
                words = ("factory", "install", "-", *place)
                done = await tlsproxy(*words, stdin=certificate + chain)
                installed = json.loads(done.stdout)
                assert (installed["changed"], installed["not_after"][:4]) == (True, str(FOR_EVER.year))
                async with Client.to(proxy.port) as client:
                    assert client.fingerprint == installed["sha256"]
                again = json.loads((await tlsproxy(*words, stdin=certificate)).stdout)
                assert (again["changed"], again["sha256"]) == (False, installed["sha256"])
                status = await proxy.status()
                assert status["served"][0]["sha256"] == installed["sha256"]
                assert not (proxy.store / "authority" / "factory" / "request").exists()
