"""The device's own authority over the control API and the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509

from certstore.issuers import deviceca
from certstore.issuers.selfsigned import Identity
from tests.controlling import Api, control_api, now
from tests.tlsproxy.test_cli_certs_life import Place, place, run
from tlsproxy.cli.either import open_store
from tlsproxy.errors import ExitCode

__all__ = ["place"]  # a fixture

WANTED = Identity(("device.test", "192.0.2.7"), "4711", "device.test")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


async def test_without_one_it_is_404_and_says_what_to_configure(api: Api) -> None:
    for method, end in (
        ("GET", ""),
        ("GET", "/certificate.pem"),
        ("GET", "/certificate.der"),
        ("POST", "/renew"),
    ):
        answer = await api.ask(method, f"/v1/device-ca{end}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), end
        assert "device_ca = true" in answer.json()["hint"]


async def test_it_is_shown_given_out_and_renewed_and_its_key_stays(api: Api) -> None:
    authority = deviceca.make(WANTED.names, WANTED, now())
    api.store.device_ca.keep(authority)
    shown = (await api.ask("GET", "/v1/device-ca")).json()
    assert (shown["sha256"], shown["names"], shown["exported"]) == (
        authority.fingerprint,
        ["192.0.2.7", "device.test"],
        False,
    )
    pem = await api.ask("GET", "/v1/device-ca/certificate.pem")
    der = await api.ask("GET", "/v1/device-ca/certificate.der")
    assert x509.load_pem_x509_certificate(pem.content) == authority.certificate
    assert x509.load_der_x509_certificate(der.content) == authority.certificate
    assert (await api.ask("GET", "/v1/device-ca")).json()["exported"] is True
    renewed = (await api.ask("POST", "/v1/device-ca/renew")).json()
    assert renewed["spki"] == shown["spki"]
    assert renewed["sha256"] != shown["sha256"]
    (line,) = map(json.loads, (api.store.path / "audit.jsonl").read_text().splitlines())
    assert (line["what"], line["outcome"], line["sha256"]) == ("renew_device_ca", "done", renewed["sha256"])
    assert b"PRIVATE" not in pem.content + json.dumps(renewed).encode()


async def command(place: Place, *words: str):
    config = place.path.parent / "tlsproxy.toml"
    return await run("device-ca", words[0], "--config", str(config), *words[1:])


async def test_the_command_line_shows_and_exports_it_with_a_proxy_and_without(
    place: Place, tmp_path: Path
) -> None:
    missing = await command(place, "show")
    assert (missing.code, "device_ca = true" in missing.err) == (ExitCode.FAILED, True)
    authority = deviceca.make(WANTED.names, WANTED, now())
    if place.held is not None:
        place.held.device_ca.keep(authority)
    else:
        with open_store(place.path, 5.0) as store:
            store.device_ca.keep(authority)
    shown = await command(place, "show")
    assert "not yet" in shown.out
    assert "192.0.2.7, device.test" in shown.out
    assert (await command(place, "show", "--json")).document["sha256"] == authority.fingerprint
    exported = await command(place, "export")
    assert x509.load_pem_x509_certificate(exported.out.encode()) == authority.certificate
    file = tmp_path / "ca.cer"
    assert (await command(place, "export", "--der", "--output", str(file))).code == ExitCode.DONE
    assert x509.load_der_x509_certificate(file.read_bytes()) == authority.certificate
    assert (await command(place, "show", "--json")).document["exported"] is True
    renewed = await command(place, "renew", "--json")
    if place.is_running:
        assert renewed.document["spki"] == authority.spki
    else:
        assert renewed.code != ExitCode.DONE
    config = place.path.parent / "tlsproxy.toml"
    banned = await run("certs", "ban", str(file), "--yes", "--config", str(config))
    assert "[device_ca_lost]" in banned.out
    assert (await command(place, "show")).code == ExitCode.FAILED, "nobody is to trust it any more"
    assert (await command(place, "export")).code == ExitCode.FAILED
