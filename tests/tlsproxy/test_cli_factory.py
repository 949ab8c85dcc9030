"""`tlsproxy factory` as a production line calls it: without a proxy, and with one over its socket."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from certstore import Refusal, Store, firstboot
from tests.controlling import control_api, now
from tests.manufacturing import signed
from tests.pki import Pki, to_pem
from tlsproxy.cli import main
from tlsproxy.control.client import Client
from tlsproxy.errors import ExitCode

WHO = ("--serial", "PX-000123", "--name", "px-000123.devices.example")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def run(store: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Give a command's exit code, and the one document that it prints whatever happens."""

    def run(*words: str) -> tuple[int, Any]:
        code = main(["factory", *words, "--store", str(store), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def _base64(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode("ascii")


def answered(pki: Pki, folder: Path, request: str, **more: Any) -> list[str]:
    files = {"device.pem": to_pem(signed(pki, request, **more)), "ca.pem": pki.intermediate_pem}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


class TestWithoutAProxy:
    def test_the_whole_way_of_a_device_over_the_line(self, run, store, pki, tmp_path):
        store.mkdir(mode=0o700)
        assert run("show")[1]["state"] == "empty"
        code, asked = run("provision", *WHO)
        assert (code, asked["state"], asked["serial"]) == (ExitCode.DONE, "waiting", "PX-000123")
        assert run("provision", *WHO) == run("provision") == run("show") == (code, asked)
        files = answered(pki, tmp_path, asked["csr"])
        code, installed = run("install", *files)
        assert (code, installed["state"], installed["changed"]) == (ExitCode.DONE, "provisioned", True)
        assert (installed["serial"], installed["spki_sha256"]) == ("PX-000123", asked["spki_sha256"])
        certificate = x509.load_pem_x509_certificate(Path(files[0]).read_bytes())
        assert installed["sha256"] == certificate.fingerprint(SHA256()).hex()
        assert installed["not_after"].startswith("9999-12-31T23:59:59")
        assert (installed["csr"], installed["error"], installed["sealed"]) == (None, None, True)
        code, again = run("install", *files)
        assert (code, again["changed"], again["sha256"]) == (ExitCode.DONE, False, installed["sha256"])
        code, later = run("provision", *WHO)
        assert (code, later["state"], later["receipt"]) == (
            ExitCode.DONE,
            "provisioned",
            installed["receipt"],
        )
        audited = [json.loads(line) for line in (store / "audit.jsonl").read_text("ascii").splitlines()]
        assert [(one["what"], one["outcome"]) for one in audited][-3:] == [
            ("factory_install", "confirmed"),
            ("factory_install", "confirmed"),
            ("factory_request", "provisioned"),
        ]
        assert {(one["by"], one["uid"]) for one in audited} == {("command", os.getuid())}

    def test_another_certificate_is_refused_and_told_as_json_too(self, run, pki, tmp_path):
        _, asked = run("provision", *WHO)
        run("install", *answered(pki, tmp_path, asked["csr"]))
        code, refused = run("install", *answered(pki, tmp_path, asked["csr"]))
        assert (code, refused["state"], refused["changed"]) == (ExitCode.FAILED, "provisioned", False)
        assert (refused["error"]["code"], refused["error"]["again"]) == ("slot_sealed", False)
        code, replaced = run("install", "--unsafe-reseal", *answered(pki, tmp_path, asked["csr"]))
        assert (code, replaced["changed"], replaced["error"]) == (ExitCode.DONE, True, None)
        assert replaced["spki_sha256"] == asked["spki_sha256"]

    def test_a_file_that_isnt_there_is_told_as_json_too(self, run, tmp_path):
        run("provision", *WHO)
        code, refused = run("install", str(tmp_path / "nothing.pem"))
        assert (code, refused["error"]["code"], refused["state"]) == (
            ExitCode.FAILED,
            "file_missing",
            "waiting",
        )

    @pytest.mark.parametrize(
        ("words", "code", "error"),
        [
            (("provision", "--name", "a.example"), ExitCode.FAILED, "factory_serial_missing"),
            (("provision", "--serial", "P1"), ExitCode.FAILED, "factory_name_missing"),
            (
                ("provision", "--serial", "P_1", "--name", "a.example"),
                ExitCode.FAILED,
                "factory_serial_unusable",
            ),
            (("provision", "--serial", "P1", "--name", "a b"), ExitCode.MISUSE, "usage"),
        ],
    )
    def test_what_is_missing_is_told_with_what_to_type(
        self, run, words, code, error, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("tlsproxy.device.serial_number", str)
        ended, document = run(*words)
        assert (ended, document["error"]["code"], document["error"]["again"]) == (code, error, False)
        assert document["error"]["hint"]

    def test_a_store_that_somebody_holds_is_for_later(self, run, store, monkeypatch):
        monkeypatch.setattr("tlsproxy.cli.either._LOCK_WAIT_S", 0.0)
        with Store.open(store, clock=now):
            code, document = run("provision", *WHO)
        assert (code, document["error"]["code"]) == (ExitCode.AGAIN, "store_locked")
        assert document["error"]["again"] is True
        assert run("provision", *WHO)[0] == ExitCode.DONE

    def test_a_random_generator_that_isnt_ready_is_for_later(self, run, store, monkeypatch):
        monkeypatch.setattr("tlsproxy.policy_factory.RANDOM_WAIT_S", 0.0)
        monkeypatch.setattr(firstboot, "random_ready", lambda: False)
        code, document = run("provision", *WHO)
        assert (code, document["error"]["code"]) == (ExitCode.AGAIN, "random_not_ready")
        assert not (store / "authority" / "factory" / "request").exists()


def test_the_request_alone_goes_into_a_pipe(store, capsys, pki, tmp_path):
    place = ("--store", str(store))
    assert main(["factory", "provision", *WHO, *place]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert x509.load_pem_x509_csr(out.encode()).is_signature_valid
    assert err == ""
    assert main(["factory", "show", *place]) == ExitCode.DONE
    assert "a request waits for its certificate" in capsys.readouterr().out
    assert main(["factory", "install", *answered(pki, tmp_path, out), *place]) == ExitCode.DONE
    told = capsys.readouterr().out
    assert "PX-000123" in told
    assert "9999-12-31" in told
    assert main(["factory", "provision", *place]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert out == ""
    assert "has its identity already" in err
    assert main(["certs", "list", *place]) == ExitCode.DONE
    assert "served, sealed" in capsys.readouterr().out
    assert main(["factory", "install", __file__, *place]) == ExitCode.FAILED
    assert "refused: " in capsys.readouterr().err


def test_a_configuration_says_who_the_device_is(tmp_path, capsys, monkeypatch):
    config = tmp_path / "tlsproxy.toml"
    config.write_text(
        'store = "store"\n[[listener]]\naddress = "127.0.0.1:0"\n[[route]]\nupstream = "http://127.0.0.1:9"\n'
        '[identity]\nnames = ["pump-7.example"]\nserial = "P-7"\n'
    )
    assert main(["factory", "provision", "--config", str(config), "--json"]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["serial"], told["names"]) == ("P-7", ["pump-7.example"])


class TestThroughTheProxy:
    async def test_it_is_asked_and_its_audit_says_who(self, tmp_path, pki):
        async with control_api(tmp_path) as api:
            asked = await api.client(
                lambda c: c.request_factory("P-1", ("p-1.example",), unsafe_reseal=False)
            )
            assert await api.client(Client.factory) == asked == api.store.factory.state()
            again = await api.client(lambda c: c.request_factory(None, None, unsafe_reseal=False))
            assert again == asked
            files = answered(pki, tmp_path, asked.request)
            certificate = await trio.Path(files[0]).read_bytes()
            document = {"files": [{"name": "a", "content_base64": _base64(path)} for path in files]}
            answer = await api.ask("POST", "/v1/factory/certificate", json=document)
            assert answer.status_code == 201
            assert answer.json()["source"] == "factory"
            (slot,) = api.store.slots()
            assert slot.sealed
            form = await api.ask("POST", "/v1/factory/certificate", files={"file": ("a.pem", certificate)})
            assert (form.status_code, form.json()["findings"][-1]["code"]) == (201, "already_live")
        lines = (tmp_path / "store" / "audit.jsonl").read_text("ascii").splitlines()
        told = [(one["what"], one["by"], one["uid"]) for one in map(json.loads, lines)]
        assert told == [
            *[("factory_request", "socket", os.getuid())] * 2,
            *[("factory_install", "socket", os.getuid())] * 2,
        ]

    async def test_what_is_refused_there_is_refused_alike(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tlsproxy.device.serial_number", str)
        async with control_api(tmp_path) as api:
            with pytest.raises(Refusal) as caught:
                await api.client(lambda c: c.request_factory(None, ("a.example",), unsafe_reseal=False))
            assert caught.value.findings[0].code == "factory_serial_missing"
            for body, status in (
                ({"serial": "", "names": None}, 422),
                ({"names": ["a b"]}, 422),
                ({"names": []}, 422),
                ({"who": "x"}, 422),
            ):
                assert (await api.ask("POST", "/v1/factory/request", json=body)).status_code == status
            monkeypatch.setattr(firstboot, "random_ready", lambda: False)
            early = {"serial": "P-1", "names": ["a.example"]}
            answer = await api.ask("POST", "/v1/factory/request", json=early)
            assert (answer.status_code, answer.json()["code"]) == (503, "random_not_ready")

    async def test_the_command_asks_the_proxy_that_runs(self, tmp_path):
        async with control_api(tmp_path) as api:
            (api.store.path / "run").symlink_to(api.path.parent)
            words = ["factory", "provision", *WHO, "--store", str(api.store.path), "--json"]
            command = [sys.executable, "-m", "tlsproxy", *words]
            done = await trio.run_process(command, capture_stdout=True)
            told = json.loads(done.stdout)
            assert told["spki_sha256"] == api.store.factory.state().spki
            waiting = tmp_path / "store" / "authority" / "factory" / "request" / "key.pem"
            assert stat.S_IMODE(waiting.stat().st_mode) == 0o600
