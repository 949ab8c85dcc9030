"""`tlsproxy label`: of which identity it tells, in which form, and where it goes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path

import pytest

from certstore import Identity, InProcess, Source, Store
from certstore.fingerprints import grouped, pin
from certstore.issuers.selfsigned import issue, new_key
from tests.controlling import now
from tests.manufacturing import answer
from tests.pki import Pki
from tests.storing import propose
from tlsproxy.cli import main
from tlsproxy.errors import ExitCode

DEVICE = Identity(("pump.local", "10.0.0.7"), "P-7", "pump.local")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A device that has made itself a certificate; and its customer, too, brought one."""
    path, key = tmp_path / "store", new_key()
    with Store.open(path, clock=now) as held:
        for at in (now() - timedelta(days=30), now()):
            held.propose(
                issue(DEVICE, key, at), source=Source.GENERATED, via="identity", examiner=InProcess()
            )
        propose(held, Pki().leaf(("shop.example",)))
    return path


def label(store: Path, capsysbinary: pytest.CaptureFixture[bytes], *words: str) -> bytes:
    assert main(["label", "--store", str(store), *words]) == ExitCode.DONE
    return capsysbinary.readouterr().out


def test_a_device_of_its_own_making_is_told_by_its_key_not_by_the_customers_certificate(store, capsysbinary):
    text = label(store, capsysbinary).decode()
    with Store.open(store, clock=now) as held:
        own = held.bundle(next(slot.bundle for slot in held.slots() if slot.source is Source.GENERATED))
    assert text.splitlines()[:2] == ["pump.local", "serial P-7"]
    assert grouped(own.spki)[:39] in text
    assert grouped(own.fingerprint)[:9] not in text
    assert json.loads(label(store, capsysbinary, "--json")) == {
        "name": "pump.local",
        "serial": "P-7",
        "spki_sha256": own.spki,
        "sha256": None,
        "qr": f"https://pump.local/#{pin(own.spki)}",
    }


def test_a_provisioned_device_is_told_by_its_factorys_identity(store, capsysbinary, pki):
    with Store.open(store, clock=now) as held:
        request = held.factory.request(Identity(("p-7.devices.example",), "P-7", "")).request
        held.factory.install(answer(pki, request), via="line", examiner=InProcess())
        state = held.factory.state()
    text = label(store, capsysbinary).decode()
    assert grouped(state.spki)[:39] in text
    assert grouped(state.fingerprint)[:39] in text


def test_pictures_go_into_a_file_or_a_pipe(store, capsysbinary, tmp_path):
    svg, png = label(store, capsysbinary, "--svg"), label(store, capsysbinary, "--png", "--dpi", "203")
    ET.fromstring(svg)
    assert png.startswith(b"\x89PNG")
    for form, content in (("--svg", svg), ("--png", png)):
        path = tmp_path / "label"
        assert label(store, capsysbinary, form, "--dpi", "203", "--out", str(path)) == b""
        assert path.read_bytes() == content
    assert label(store, capsysbinary, "--png", "--dpi", "600") != png


def test_another_page_is_opened_where_that_is_wanted(store, capsysbinary):
    told = json.loads(label(store, capsysbinary, "--json", "--url", "https://start.example/P-7"))
    assert told["qr"].startswith("https://start.example/P-7#sha256//")


@pytest.mark.parametrize("url", ["https://x/" + "y" * 200, "https://\u00fc/", "a\nb"])
def test_what_no_code_can_hold_is_refused(store, capsys, url):
    assert main(["label", "--store", str(store), "--url", url]) == ExitCode.MISUSE
    assert "is no URL" in capsys.readouterr().err


def test_a_device_without_an_identity_is_told_how_to_get_one(tmp_path, capsys):
    with Store.open(tmp_path / "store", clock=now):
        pass
    assert main(["label", "--store", str(tmp_path / "store")]) == ExitCode.MISUSE
    assert "tlsproxy factory provision" in capsys.readouterr().err


def test_what_was_copied_from_the_label_finds_the_certificate(store, capsys):
    assert main(["label", "--store", str(store)]) == ExitCode.DONE
    copied = capsys.readouterr().out.splitlines()[4]
    assert main(["certs", "show", copied, "--source", "generated", "--store", str(store)]) == ExitCode.DONE
    assert copied in capsys.readouterr().out
