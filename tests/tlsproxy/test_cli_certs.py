"""`tlsproxy certs import` and `status`: without a proxy on a real store, with one over a real socket."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from certstore import InProcess, Receipt, Source, Store, read_generation
from tests.controlling import acme_of, controller_of, lookout_of, resetter_of
from tests.pki import Pki
from tlsproxy.cli import either, main
from tlsproxy.control import server
from tlsproxy.control.backing import Backing
from tlsproxy.errors import ExitCode
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.provisioning import FactoryDesk
from tlsproxy.tls.gate import HandshakeGate


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def files(pki: Pki, tmp_path: Path) -> tuple[str, str]:
    issued = pki.leaf()
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(issued.chain_pem)
    key.write_bytes(issued.key_pem)
    return str(certificate), str(key)


class TestWithoutAProxy:
    def test_a_certificate_is_stored_and_will_be_served(
        self, store: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["certs", "import", "--store", str(store), *files]) == ExitCode.DONE
        said = capsys.readouterr().out
        assert "served from the next start" in said
        assert f"there was no store at {store}: it was made just now" in said
        generation = read_generation(store)
        assert generation is not None
        assert [row.pattern for row in generation.rows] == ["device.test"]

    def test_the_receipt_is_json_for_programs(
        self, store: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["certs", "import", "--store", str(store), "--json", *files[::-1]]) == ExitCode.DONE
        document = json.loads(capsys.readouterr().out)
        assert document.pop("running") is False
        receipt = Receipt.from_json(document)
        assert (receipt.state, receipt.source, receipt.via) == ("confirmed", Source.CUSTOMER, "cli")
        (audited,) = map(json.loads, (store / "audit.jsonl").read_text("ascii").splitlines())
        assert (audited["by"], audited["uid"], audited["receipt"]) == ("command", os.getuid(), receipt.id)
        assert "gate_skipped" not in receipt.codes

    def test_a_mismatched_key_is_refused_and_changes_nothing(
        self, store: Path, files: tuple[str, str], pki: Pki, capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(["certs", "import", "--store", str(store), *files])
        before = read_generation(store)
        capsys.readouterr()
        Path(files[1]).write_bytes(pki.leaf().key_pem)
        Path(files[0]).write_bytes(pki.leaf(("other.test",)).chain_pem)
        assert main(["certs", "import", "--store", str(store), *files]) == ExitCode.FAILED
        out = capsys.readouterr()
        assert out.err.startswith("tlsproxy: error: refused: ")
        assert "[key_mismatch]" in out.err
        assert "tlsproxy: hint: " in out.err
        assert not out.out
        assert read_generation(store) == before

    def test_the_key_may_be_left_out_once_the_store_has_it(self, store: Path, files: tuple[str, str]) -> None:
        main(["certs", "import", "--store", str(store), *files])
        assert main(["certs", "import", "--store", str(store), files[0]]) == ExitCode.DONE

    def test_one_file_on_stdin_is_enough(
        self, store: Path, files: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        both = Path(files[0]).read_bytes() + Path(files[1]).read_bytes()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(both)))
        assert main(["certs", "import", "--store", str(store), "-"]) == ExitCode.DONE

    def test_stdin_cannot_be_two_files(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["certs", "import", "--store", str(store), "-", "-"]) == ExitCode.MISUSE
        assert "read only once" in capsys.readouterr().err

    def test_a_pipe_is_as_good_as_a_file(self, store: Path, files: tuple[str, str]) -> None:
        words = (
            f'{sys.executable} -m tlsproxy certs import --store "{store}" <(cat {files[0]}) <(cat {files[1]})'
        )
        done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == ExitCode.DONE, done.stderr

    def test_a_store_held_by_another_process_is_waited_for_and_then_told(
        self,
        store: Path,
        files: tuple[str, str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(either, "_LOCK_WAIT_S", 0.0)
        with Store.open(store, clock=clock):
            assert main(["certs", "import", "--store", str(store), *files]) == ExitCode.FAILED
        assert f"in use by process {os.getpid()}" in capsys.readouterr().err

    def test_an_open_store_is_refused_with_the_fix(
        self, store: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        Store.open(store, clock=clock).close()
        store.chmod(0o755)
        assert main(["certs", "import", "--store", str(store), *files]) == ExitCode.FAILED
        assert "chmod 700" in capsys.readouterr().err


def unreadable_kinds(folder: Path) -> Iterator[tuple[str, Path]]:
    yield "file_missing", folder / "absent"
    yield "is_directory", folder
    huge = folder / "huge"
    with huge.open("wb") as file:
        file.truncate(1_048_577)
    yield "file_too_large", huge
    loop = folder / "loop"
    loop.symlink_to(loop)
    yield "symlink_loop", loop
    dangling = folder / "dangling"
    dangling.symlink_to(folder / "nowhere")
    yield "symlink_dangling", dangling
    if os.geteuid() != 0:
        secret = folder / "secret"
        secret.touch(mode=0)
        yield "file_unreadable", secret


def test_what_cannot_be_read_has_its_own_code_and_never_makes_a_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for code, path in unreadable_kinds(tmp_path):
        assert main(["certs", "import", "--store", str(store), "--json", str(path)]) == ExitCode.FAILED
        document = json.loads(capsys.readouterr().out)
        assert document["id"] is None
        assert document["state"] == "refused"
        assert [finding["code"] for finding in document["findings"]] == [code]
        assert main(["certs", "import", "--store", str(store), str(path)]) == ExitCode.FAILED
        assert f"[{code}]" in capsys.readouterr().err
    assert not store.exists()


@pytest.mark.parametrize("command", ["status", "certs import x"])
def test_a_store_of_another_user_is_told_with_what_to_do_not_with_how_options_are_spelt(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # what click asks
    monkeypatch.setattr("socket.socket.connect", refuse)
    (tmp_path / "x").write_text("nonsense")
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), "--store", str(tmp_path)]) == ExitCode.FAILED
    assert "hint: run this as root or the proxy's user (sudo -u" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "code"), [(b"", "file_empty"), (b"hello\n", "unparsable")])
def test_what_holds_no_certificate_is_refused_by_the_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, code: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert main(["certs", "import", "--store", str(store), "--json", str(path)]) == ExitCode.FAILED
    document = json.loads(capsys.readouterr().out)
    assert code in [finding["code"] for finding in document["findings"]]
    assert document["id"]


class TestStatusWithoutAProxy:
    def test_the_store_is_read_without_its_lock(
        self, store: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(["certs", "import", "--store", str(store), *files])
        capsys.readouterr()
        with Store.open(store, clock=clock):
            assert main(["status", "--store", str(store)]) == ExitCode.DONE
        text = capsys.readouterr().out
        assert text.startswith("tlsproxy is not running; this is what its store says\n")
        assert "device.test, everything else" in text

    def test_programs_get_json(
        self, store: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(["certs", "import", "--store", str(store), *files])
        capsys.readouterr()
        assert main(["status", "--store", str(store), "--json"]) == ExitCode.DONE
        document = json.loads(capsys.readouterr().out)
        assert document["process"] is None
        assert document["rung"] == "wanted"
        assert document["clock_plausible"] is True
        assert [receipt["state"] for receipt in document["receipts"]] == ["confirmed"]

    def test_a_store_that_never_served_says_so(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Store.open(store, clock=clock).close()
        assert main(["status", "--store", str(store)]) == ExitCode.DONE
        assert "no certificate yet" in capsys.readouterr().out

    def test_a_configuration_file_names_the_store_too(
        self, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Store.open(store, clock=clock).close()
        path = tmp_path / "x.toml"
        path.write_text(
            'store = "store"\n[[listener]]\naddress = ":0"\n[[route]]\nupstream = "http://127.0.0.1"\n'
        )
        assert main(["status", "--config", str(path)]) == ExitCode.DONE
        assert str(store) in capsys.readouterr().out

    def test_what_is_typed_wins_over_the_environment(
        self,
        store: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        other = tmp_path / "other"
        for one in (store, other):
            Store.open(one, clock=clock).close()
        path = tmp_path / "x.toml"
        path.write_text(
            'store = "other"\n[[listener]]\naddress = ":0"\n[[route]]\nupstream = "http://127.0.0.1"\n'
        )
        monkeypatch.setenv("TLSPROXY_CONFIG", str(path))
        assert main(["status", "--store", str(store)]) == ExitCode.DONE
        assert f"store        {store}\n" in capsys.readouterr().out
        monkeypatch.delenv("TLSPROXY_CONFIG")
        monkeypatch.setenv("TLSPROXY_STORE", str(store))
        assert main(["status", "--config", str(path)]) == ExitCode.DONE
        assert f"store        {other}\n" in capsys.readouterr().out
        monkeypatch.setenv("TLSPROXY_CONFIG", str(path))
        assert main(["status"]) == ExitCode.MISUSE


async def run_command(*arguments: str) -> tuple[int, Any]:
    done = await trio.run_process(
        [sys.executable, "-m", "tlsproxy", *arguments], capture_stdout=True, capture_stderr=True, check=False
    )
    return done.returncode, json.loads(done.stdout)


async def test_with_a_running_proxy_the_certificate_is_live_when_the_command_returns(
    store: Path, files: tuple[str, str], pki: Pki, nursery: trio.Nursery
) -> None:
    with trio.fail_after(60), Store.open(store, clock=clock) as held:
        examiner = InProcess(HandshakeGate(TLSPolicy()))
        controller = replace(controller_of(held), examiner=examiner)
        events, resetter = controller.teller.events, resetter_of(controller)
        desk = FactoryDesk(controller)
        acme = acme_of(controller)
        proxy = (controller, controller, controller)
        backing = Backing(*proxy, held, events, desk, resetter, acme, lookout_of(held, acme))
        control = store / "run" / "control.sock"
        await nursery.start(partial(server.run, control, backing))
        code, document = await run_command("certs", "import", "--store", str(store), "--json", *files)
        assert code == ExitCode.DONE
        assert document.pop("running") is True
        receipt = Receipt.from_json(document)
        assert receipt.live_at is not None
        assert held.receipt(receipt.id) == receipt

        await trio.Path(files[1]).write_bytes(pki.leaf(key="rsa").key_pem)
        await trio.Path(files[0]).write_bytes(pki.leaf(("x.test",)).chain_pem)
        code, document = await run_command("certs", "import", "--store", str(store), "--json", *files)
        assert code == ExitCode.FAILED
        assert (document["state"], document["running"]) == ("refused", True)

        code, document = await run_command("status", "--store", str(store), "--json")
        assert code == ExitCode.DONE
        assert document["process"]["pid"] == os.getpid()
        assert document["generation"] == receipt.generation
        nursery.cancel_scope.cancel()
