"""`tlsproxy certs`: all that is done with certificates beside importing them, with a proxy and without."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.x509 import load_pem_x509_certificates

from certstore import InProcess, Receipt, Source, State, Store
from tests.controlling import control_api
from tlsproxy.cli.either import open_store
from tlsproxy.errors import ExitCode
from tlsproxy.policy import PROBATION_S

Words = tuple[str, ...]


@dataclass
class Answered:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Awaitable[Answered]]


async def run(*words: str) -> Answered:
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-m", "tlsproxy", *words], capture_stdout=True, capture_stderr=True, check=False
        )
    return Answered(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass
class Place:
    """A store that is filled before, and a command that finds it; `held` while a proxy holds it."""

    path: Path
    command: Command
    is_running: bool
    held: Store | None

    def fill(self, *bundles: tuple[Any, Source]) -> list[Receipt]:
        def put(store: Store) -> list[Receipt]:
            return [
                store.propose(issued.bundle(), source=source, via="before", examiner=InProcess())
                for issued, source in bundles
            ]

        if self.held is not None:
            return put(self.held)
        with open_store(self.path, 5.0) as store:
            return put(store)


@pytest.fixture(params=["with a proxy", "without a proxy"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    config = tmp_path / "tlsproxy.toml"
    config.write_text(
        'store = "store"\nruntime = "run"\n[[listener]]\naddress = ":0"\n'
        '[[route]]\nupstream = "http://127.0.0.1"\n'
    )

    async def command(*words: str) -> Answered:
        return await run("certs", words[0], "--config", str(config), *words[1:])

    if request.param == "without a proxy":
        yield Place(tmp_path / "store", command, is_running=False, held=None)
        return
    async with control_api(tmp_path) as api:
        yield Place(tmp_path / "store", command, is_running=True, held=api.store)


CUSTOMER, ACME, GENERATED = Source.CUSTOMER, Source.ACME, Source.GENERATED


async def test_a_list_says_whose_certificates_there_are_and_which_are_served(place, pki):
    own, mine = place.fill((pki.leaf(issuer=None), GENERATED), (pki.leaf(), CUSTOMER))
    answer = await place.command("list", "--json")
    assert answer.code == ExitCode.DONE
    entries = answer.document["certificates"]
    assert [(one["source"], one["bundle"], one["state"], one["default"]) for one in entries] == [
        ("customer", mine.bundle, "served", True),
        ("generated", own.bundle, "in reserve", False),
    ]
    assert entries[0]["served_to"] == entries[0]["names"] == ["device.test"]
    table = (await place.command("list")).out.splitlines()
    assert table[0].split() == ["id", "source", "names", "until", "state", "SHA-256"]
    assert entries[0]["fingerprint"][:16] in table[1]


async def test_a_certificate_is_shown_with_what_a_person_compares(place, pki):
    issued = pki.leaf()
    place.fill((issued, CUSTOMER))
    answer = await place.command("show")
    assert answer.code == ExitCode.DONE
    digits = issued.bundle().fingerprint.upper()
    assert " ".join(digits[at : at + 4] for at in range(0, 64, 4)) in answer.out
    assert " ".join(issued.bundle().spki.upper()[at : at + 4] for at in range(0, 64, 4)) in answer.out
    bundle = issued.bundle()
    assert f"{bundle.not_before:%Y-%m-%d %H:%M} to {bundle.not_after:%Y-%m-%d %H:%M} UTC" in answer.out
    in_firefox = ":".join(digits[at : at + 2] for at in range(0, 64, 2))
    for which in (
        "device.test",
        issued.bundle().fingerprint[:8],
        issued.bundle().id,
        digits[:10],
        in_firefox,
    ):
        shown = (await place.command("show", which, "--json")).document
        assert shown["spki_sha256"] == issued.bundle().spki
        assert shown["chain"][0]["fingerprint"] == issued.bundle().fingerprint


async def test_what_isnt_there_or_is_ambiguous_is_misuse_and_says_what_there_is(place, pki):
    place.fill((pki.leaf(), CUSTOMER), (pki.leaf(), ACME))
    answer = await place.command("show", "other.test")
    assert (answer.code, "certs list" in answer.err) == (ExitCode.MISUSE, True)
    answer = await place.command("show", "device.test")
    assert answer.code == ExitCode.MISUSE
    assert "customer device.test" in answer.err
    answer = await place.command("show", "device.test", "--source", "acme", "--json")
    assert answer.document["source"] == "acme"


async def test_an_export_has_the_chain_and_never_the_key(place, pki, tmp_path):
    issued = pki.leaf()
    place.fill((issued, CUSTOMER))
    answer = await place.command("export")
    assert answer.code == ExitCode.DONE
    assert answer.out.encode() == issued.bundle().chain_pem()
    assert "PRIVATE" not in answer.out
    file = tmp_path / "out.pem"
    assert (await place.command("export", "--output", str(file))).code == ExitCode.DONE
    assert load_pem_x509_certificates(file.read_bytes())[0] == issued.bundle().leaf


async def test_a_rollback_goes_back_one_certificate_and_a_history_tells_of_it(place, pki):
    old, new = place.fill((pki.leaf(), CUSTOMER), (pki.leaf(), CUSTOMER))
    answer = await place.command("rollback", "--json")
    assert answer.code == ExitCode.DONE
    document = answer.document
    assert document.pop("running") is place.is_running
    receipt = Receipt.from_json(document)
    assert (receipt.state, receipt.bundle, receipt.via) == (State.CONFIRMED, old.bundle, "cli")
    history = (await place.command("history", "--json")).document
    assert [one["id"] for one in history["receipts"]] == [receipt.id, new.id, old.id]
    assert [one["number"] for one in history["generations"]] == [3, 2, 1]
    rows = (await place.command("history")).out.splitlines()
    assert len(rows) == 4
    assert all(word in rows[1] for word in ("rollback", "confirmed", "customer via cli", receipt.id))


async def test_without_anything_before_a_rollback_is_refused_with_a_code(place, pki):
    place.fill((pki.leaf(), CUSTOMER))
    answer = await place.command("rollback")
    assert answer.code == ExitCode.FAILED
    assert answer.err.startswith("tlsproxy: error: refused: ")
    assert "[nothing_before]" in answer.err
    answer = await place.command("rollback", "--json")
    assert (answer.code, answer.document["state"]) == (ExitCode.FAILED, "refused")


async def test_all_of_it_goes_back_to_a_generation(place, pki):
    old, *_ = place.fill((pki.leaf(), CUSTOMER), (pki.leaf(), CUSTOMER), (pki.leaf(), ACME))
    answer = await place.command("rollback", "--to", "1")
    assert answer.code == ExitCode.DONE
    assert "went back: generation 4" in answer.out
    (one,) = (await place.command("list", "--json")).document["certificates"]
    assert one["bundle"] == old.bundle
    answer = await place.command("rollback", "--to", "1")
    assert answer.out.startswith("nothing has changed: generation ")
    answer = await place.command("rollback", "--to", "99")
    assert answer.code == ExitCode.FAILED
    assert "no generation 99" in answer.err
    assert "tlsproxy certs history" in answer.err
    assert (await place.command("rollback", "device.test", "--to", "1")).code == ExitCode.MISUSE


async def test_what_is_removed_gives_way_to_the_devices_own_and_can_come_back(place, pki):
    own, mine = place.fill((pki.leaf(issuer=None), GENERATED), (pki.leaf(), CUSTOMER))
    answer = await place.command("remove")
    assert answer.code == ExitCode.DONE
    assert "removed: generation 3" in answer.out
    (one,) = (await place.command("list", "--json")).document["certificates"]
    assert (one["bundle"], one["state"]) == (own.bundle, "served")
    answer = await place.command("rollback", "device.test", "--source", "customer", "--json")
    assert answer.document["bundle"] == mine.bundle


async def test_the_devices_own_isnt_removed_by_mistake(place, pki):
    place.fill((pki.leaf(issuer=None), GENERATED))
    answer = await place.command("remove")
    assert (answer.code, "device's own" in answer.err) == (ExitCode.MISUSE, True)


@pytest.fixture
def files(pki, tmp_path) -> Words:
    issued = pki.leaf()
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(issued.chain_pem)
    key.write_bytes(issued.key_pem)
    return str(certificate), str(key)


async def test_an_import_waits_for_a_word_as_long_as_it_is_told_and_is_confirmed_by_it(place, pki, files):
    place.fill((pki.leaf(), CUSTOMER))
    answer = await place.command("import", *files, "--confirm-within", "300")
    assert answer.code == ExitCode.DONE
    assert "goes back by itself in 300 seconds" in answer.out
    (entry,) = (await place.command("list", "--json")).document["certificates"]
    assert entry["state"] == "waits for confirmation"
    (line,) = (one.strip() for one in answer.out.splitlines() if "certs confirm" in one)
    assert line.startswith(f"tlsproxy certs confirm {entry['receipt']} --")
    answer = await run(*shlex.split(line)[1:], "--json")  # as it is printed, so that it can be pasted
    assert (answer.code, answer.document["state"]) == (ExitCode.DONE, "confirmed")
    assert (await place.command("confirm", entry["receipt"])).code == ExitCode.DONE  # whoever asks again
    answer = await place.command("confirm")
    assert (answer.code, "no certificate waits" in answer.err) == (ExitCode.MISUSE, True)


@pytest.mark.parametrize("more", [(), ("--confirm-within", "0")], ids=["unsaid", "said"])
async def test_in_a_script_an_import_needs_no_word(place, files, more):
    answer = await place.command("import", *files, *more)
    assert answer.code == ExitCode.DONE
    assert "probation: none" in answer.out


async def test_what_has_gone_back_cant_be_confirmed_any_more(place, pki, files):
    place.fill((pki.leaf(), CUSTOMER))
    answer = await place.command("import", *files, "--confirm-within", "300", "--json")
    receipt = answer.document["id"]
    assert (await place.command("rollback")).code == ExitCode.DONE
    answer = await place.command("confirm", receipt)
    assert answer.code == ExitCode.FAILED
    assert "rolled_back" in answer.err


async def test_on_a_terminal_an_import_waits_ten_minutes_for_a_word_while_a_proxy_runs(place, files, pki):
    place.fill((pki.leaf(), CUSTOMER))
    words = ["certs", "import", "--config", str(place.path.parent / "tlsproxy.toml"), *files]
    said = await trio.to_thread.run_sync(partial(on_a_terminal, words))
    wanted = f"in {PROBATION_S} seconds" if place.is_running else "probation: none"
    assert wanted in said


async def test_on_a_terminal_a_list_is_a_table(place, pki):
    place.fill((pki.leaf(), CUSTOMER))
    words = ["certs", "list", "--config", str(place.path.parent / "tlsproxy.toml")]
    said = await trio.to_thread.run_sync(partial(on_a_terminal, words))
    assert "\x1b[1m" in said
    assert "device.test" in said


def on_a_terminal(words: list[str]) -> str:
    """Run a command whose stdout is a terminal; gives what it writes there."""

    ours, theirs = os.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    env.pop("NO_COLOR", None)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-m", "tlsproxy", *words], stdout=theirs, stderr=theirs, env=env
        )
        os.close(theirs)
        said = b""
        try:
            while part := terminal.read(65536):
                said += part
        except OSError:  # EIO: the other end is closed
            pass
        assert process.wait(60) == 0, said
    return said.decode()


async def test_a_store_that_isnt_there_is_misuse_and_isnt_made(tmp_path):
    answer = await run("certs", "list", "--store", str(tmp_path / "none"))
    assert answer.code == ExitCode.MISUSE
    assert not (tmp_path / "none").exists()
    answer = await run("certs", "rollback", "--store", str(tmp_path / "none"))
    assert answer.code == ExitCode.MISUSE
    assert not (tmp_path / "none").exists()


async def test_a_damaged_certificate_is_listed_as_such(place, pki):
    (receipt,) = place.fill((pki.leaf(), CUSTOMER))
    if place.is_running:
        return  # memory has it whole
    (place.path / "bundles" / receipt.bundle / "key.pem").write_bytes(b"")
    (one,) = (await place.command("list", "--json")).document["certificates"]
    assert (one["state"], one["fingerprint"]) == ("damaged", None)
    assert "?" in (await place.command("list")).out
