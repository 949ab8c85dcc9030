"""Chromium on the demo's page: it warns, then shows swaps while its connections live on."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
import trio

from tests.conformance.browser import chromium
from tests.scraping import parsed

pytestmark = pytest.mark.slow

DEADLINE_S = 150.0
PRINTS = "['served', 'new'].map((id) => document.getElementById(id).dataset.print)"
STATE = "document.getElementById('verdict').dataset.state"


def outcome(card: str) -> str:
    return f"document.querySelector('#{card} .outcome.good, #{card} .outcome.bad')?.textContent"


async def test_the_page_shows_a_swap_that_its_connections_outlive(site, tool, tmp_path):
    with trio.fail_after(DEADLINE_S):
        async with chromium(tool("chromium"), tmp_path, "--ignore-certificate-errors") as page:
            await page.open(site.url + "/")
            await page.wait(f"{STATE} === 'good'")
            assert await page.ask(PRINTS) == [site.fingerprint] * 2
            await page.wait("Number(document.getElementById('events').textContent) >= 2")

            await page.ask("document.querySelector('#download button[data-rate]').click()")  # 25 s long
            await page.wait("document.querySelector('#download progress').value > 0.01")
            await trio.to_thread.run_sync(site.demo.certificate, "--key", "rsa")
            await page.wait(f"{STATE} === 'warn'")
            served, new = await page.ask(PRINTS)
            assert served == site.fingerprint != new
            assert await page.ask("document.getElementById('swaps').textContent") == "1"
            assert await page.ask("document.querySelector('#new .key').textContent") == "RSA 2048"
            assert "Demo certificate" in await page.ask("document.querySelector('#new .subject').textContent")

            await page.ask("document.querySelector('#upload button').click()")
            said = await page.wait(outcome("upload"))
            assert said.startswith("20.0 MB")
            assert said.endswith("every byte is right")
            for name, size, dark in (
                ("wide", (1100, 1320), False),
                ("dark", (1100, 1320), True),
                ("narrow", (400, 1900), False),
            ):
                png = await page.picture(tmp_path / f"{name}.png", *size, dark=dark)
                assert png.startswith(b"\x89PNG")
                assert await page.ask("document.documentElement.scrollWidth <= innerWidth"), (
                    f"{name} overflows"
                )

            said = await page.wait(outcome("download"))
            assert said.startswith("50.0 MB")
            assert said.endswith("through 1 swap; every byte is right")

            await page.ask("document.getElementById('reconnect').click()")
            await page.wait(f"{STATE} === 'good'")
            assert await page.ask(PRINTS) == [new, new]
            assert page.problems == []


async def test_chromium_warns_of_the_device_s_own_certificate(site, tool, tmp_path):
    with trio.fail_after(DEADLINE_S):
        async with chromium(tool("chromium"), tmp_path) as page:
            told = await page.command("Page.navigate", url=site.url + "/")
            assert (
                told["errorText"] == "net::ERR_CERT_AUTHORITY_INVALID"
            )  # and not the name, the dates, the key


async def test_it_negotiates_a_hybrid_post_quantum_group(site, tool, tmp_path):
    with trio.fail_after(DEADLINE_S):
        before = await hybrid_handshakes(site.demo.folder / "store" / "run" / "control.sock")
        async with chromium(tool("chromium"), tmp_path, "--ignore-certificate-errors") as page:
            await page.open(site.url + "/")
            await page.wait(f"{STATE} === 'good' || {STATE} === 'warn'")
            after = await hybrid_handshakes(site.demo.folder / "store" / "run" / "control.sock")
    assert after > before


async def hybrid_handshakes(control: Path) -> float:
    """Count handshakes with X25519MLKEM768; the demo's engine has it wherever it runs."""
    transport = httpx2.AsyncHTTPTransport(uds=str(control))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        text = (await client.get("/v1/metrics")).text
    series = parsed(text).get("tlsproxy_handshakes_total", {})
    return sum(value for labels, value in series.items() if "X25519MLKEM768" in labels)
