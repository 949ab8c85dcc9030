"""Which proxy a command means, and what it says where nobody is, or where it may not look."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from tests.controlling import Api, control_api
from tests.live.as_root import UID, stage
from tests.pki import Pki
from tlsproxy.cli import main, places
from tlsproxy.control.peers import Access
from tlsproxy.errors import ExitCode

CONFIG = """
store = "{store}"
runtime = "{runtime}"
[[listener]]
address = "127.0.0.1:0"
[[route]]
upstream = "http://127.0.0.1:9"
"""


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


class Told:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    async def run(*words: str) -> Told:
        capsys.readouterr()
        with trio.fail_after(30), capture_logs():  # the proxy's, which is in this process
            code = await trio.to_thread.run_sync(main, list(words))
        return Told(code, *capsys.readouterr())

    return run


def write_config(folder: Path, api: Api, *, store: Path | None = None, more: str = "") -> Path:
    path = folder / "tlsproxy.toml"
    path.write_text(CONFIG.format(store=store or api.store.path, runtime=api.path.parent) + more)
    return path


ASKING = [
    ("status", "--json"),
    ("workers", "--json"),
    ("certs", "list", "--json"),
    ("certs", "history", "--json"),
    ("certs", "show", "--json"),
    ("certs", "export"),
    ("certs", "rollback", "--json"),
]


async def test_who_names_the_socket_alone_asks_all_that_a_running_proxy_tells_and_does(
    api: Api, run, pki: Pki, tmp_path: Path
) -> None:
    file = tmp_path / "device.pem"
    for _ in range(2):
        issued = pki.leaf()
        file.write_bytes(issued.chain_pem + issued.key_pem)
        told = await run("certs", "import", str(file), "--control", str(api.path), "--json")
        assert (told.code, json.loads(told.out)["state"]) == (0, "confirmed"), told.err
    for words in ASKING:
        told = await run(*words, "--control", str(api.path))
        assert told.code == ExitCode.DONE, (words, told.err)
    assert api.store.active is not None
    assert api.store.active.number == 3, "imported, imported, rolled back"


async def test_the_socket_of_the_environment_gives_way_to_what_was_typed(
    api: Api, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLSPROXY_CONTROL", str(api.path))
    assert json.loads((await run("status", "--json")).out)["pid"] is not None
    told = await run("workers", "--store", str(tmp_path / "other"))
    assert told.code == ExitCode.FAILED
    assert "no proxy answers" in told.err
    monkeypatch.setenv("TLSPROXY_CONTROL", str(tmp_path / "nobody.sock"))
    monkeypatch.setenv("TLSPROXY_STORE", str(tmp_path / "other"))
    assert (await run("workers", "--control", str(api.path))).code == ExitCode.DONE


async def test_without_a_proxy_a_socket_alone_leads_nowhere_and_that_is_said(run, tmp_path: Path) -> None:
    gone = str(tmp_path / "control.sock")
    for words in (*ASKING, ("certs", "confirm"), ("certs", "remove"), ("reload",), ("events",)):
        told = await run(*words, "--control", gone)
        assert told.code == ExitCode.FAILED, words
        assert told.err.startswith(f"tlsproxy: error: no proxy answers (control socket {gone})"), words
    told = await run("backup", str(tmp_path / "x"), "--control", gone)
    assert told.code == ExitCode.MISUSE
    assert "needs the store itself" in told.err
    assert "--store DIR" in told.err


async def test_a_refusal_of_the_proxy_is_told_in_its_own_words(api: Api, run) -> None:
    """It began with `control socket /...:`, as if that were the trouble."""
    told = await run("certs", "confirm", "000099-00000000", "--control", str(api.path))
    assert told.code == ExitCode.FAILED
    assert told.err.startswith("tlsproxy: error: there is no receipt 000099-00000000\n")


async def test_a_file_that_names_another_store_than_what_runs_leads_on_to_where_that_answers(
    api: Api, run, tmp_path: Path
) -> None:
    config = write_config(tmp_path, api, store=tmp_path / "other")
    config.write_text(config.read_text().replace(f'runtime = "{api.path.parent}"', ""))
    for words in (("reload",), ("workers",), ("events",)):
        told = await run(*words, "--config", str(config))
        assert told.code == ExitCode.FAILED
        assert "no proxy answers" in told.err
        assert str(api.path) in told.err or " or " in told.err  # others may run on this machine


async def test_while_the_file_is_wrong_the_proxy_that_runs_is_asked_all_the_same(
    api: Api, run, tmp_path: Path
) -> None:
    config = write_config(tmp_path, api, more="[limits]\nnonsense = 1\n")
    for words in (("status", "--json"), ("workers", "--json"), ("certs", "list", "--json")):
        told = await run(*words, "--config", str(config))
        assert told.code == ExitCode.DONE, told.err
        assert "warning: " in told.err
        assert "limits.nonsense" in told.err
        json.loads(told.out)
    told = await run("reload", "--config", str(config))
    assert told.code == ExitCode.MISUSE
    assert "limits.nonsense" in told.err
    assert api.reloads.made == 0
    config.write_text("store = ")
    told = await run("status", "--config", str(config))
    assert told.code == ExitCode.MISUSE
    assert "is no TOML" in told.err


# --- who may ask, and read nothing


USUAL = "import sys; from pathlib import Path; from tlsproxy.cli import main, places; "


async def test_who_may_ask_but_not_read_the_file_is_told_how_and_finds_the_usual_socket() -> None:
    with stage() as here:
        async with control_api(here.folder, Access(frozenset({UID}), mode=0o666)) as api:
            config = write_config(here.folder, api)
            config.chmod(0o600)

            async def ask(*words: str, usual: str = "pass") -> subprocess.CompletedProcess[str]:
                program = f"{USUAL}{usual}; sys.exit(main({[*words]!r}))"
                run = partial(
                    subprocess.run,
                    [here.python, "-c", program],
                    capture_output=True,
                    text=True,
                    user=UID,
                    group=UID,
                    extra_groups=[],
                    cwd="/",
                    env={**os.environ, **here.env},
                )
                with trio.fail_after(60):
                    return await trio.to_thread.run_sync(run)

            done = await ask("workers", "--config", str(config))
            assert done.returncode == ExitCode.MISUSE, done.stderr
            assert f"{config} can't be read: permission denied" in done.stderr
            assert "--control" in done.stderr
            done = await ask("workers", "--json", "--control", str(api.path))
            assert done.returncode == ExitCode.DONE, done.stderr
            usual = (
                f"places.USUAL_CONFIG, places.USUAL_CONTROL = Path({str(config)!r}), Path({str(api.path)!r})"
            )
            done = await ask("status", "--json", usual=usual)
            assert done.returncode == ExitCode.DONE, done.stderr
            assert json.loads(done.stdout)["pid"] == os.getpid()


def test_sockets_that_only_were_listened_on_are_not_told(tmp_path: Path) -> None:
    assert all(Path(path).name == "control.sock" for path in places._control_sockets())
