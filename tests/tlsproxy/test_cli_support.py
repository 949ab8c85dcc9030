"""`tlsproxy support`: a bundle comes whatever is broken, is for its maker alone, and stays small."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore import InProcess, Source
from tests.pki import Pki
from tlsproxy import policy
from tlsproxy.cli import main
from tlsproxy.cli.either import open_store
from tlsproxy.errors import ExitCode
from tlsproxy.support import collecting
from tlsproxy.support.collecting import Part, collect
from tlsproxy.support.package import Package
from tlsproxy.support.parts import Asking

AT = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path, pki: Pki) -> Path:
    path = tmp_path / "store"
    with open_store(path, 0.0) as held:
        held.propose(pki.leaf().bundle(), source=Source.CUSTOMER, via="before", examiner=InProcess())
    return path


def opened(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        found = {}
        for entry in archive:
            assert entry.mode == 0o600
            inside = archive.extractfile(entry)
            assert inside is not None
            found[entry.name.partition("/")[2]] = inside.read().decode()
    return found


def test_without_a_proxy_the_store_tells_and_the_rest_is_said_to_be_missing(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "audit.jsonl").write_text('{"at": "1"}\n' * 3)
    file = tmp_path / "bundle.tar.gz"
    assert main(["support", str(file), "--store", str(store), "--json"]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert told["bytes"] == file.stat().st_size
    files = opened(file)
    assert set(told["files"]) == files.keys()
    (why,) = told["missing"]
    assert "no proxy answers" in why
    assert told["missing"][why] == [
        *("health.json", "workers.json", "connections.json", "bundles.json", "events.jsonl", "metrics.txt")
    ]
    assert "metrics.txt" in files["README.txt"]
    assert "journalctl -u tlsproxy" in files["README.txt"]
    assert json.loads(files["versions.json"])["running"] is None
    assert json.loads(files["status.json"])["generation"] == 1
    assert "tlsproxy is not running" in files["status.txt"]
    assert json.loads(files["receipts.json"])["receipts"][0]["via"] == "before"
    assert json.loads(files["generation.json"])["number"] == 1
    assert files["audit.jsonl"].count("\n") == 3


def test_the_store_is_listed_by_name_and_mode_and_no_key_is_in_it(store: Path, tmp_path: Path) -> None:
    keys = list(store.glob("bundles/*/key.pem"))
    (store / "inbox").mkdir(exist_ok=True)
    (store / "inbox" / "odd\x1b[31mname").write_text("x")
    (store / "link").symlink_to("/etc")
    file = tmp_path / "bundle.tar.gz"
    assert main(["support", str(file), "--store", str(store)]) == ExitCode.DONE
    listing = opened(file)["store.txt"]
    (line,) = [line for line in listing.splitlines() if line.endswith("key.pem")]
    assert line.startswith("-rw-------")
    assert "odd\\x1b[31mname" in listing
    assert "\x1b" not in listing
    assert any(line.startswith("l") and line.endswith("link") for line in listing.splitlines())
    assert "passwd" not in listing
    for name, text in opened(file).items():
        for key in keys:
            assert not any(piece in text for piece in key.read_text().splitlines()[1:-1]), name
    assert len(keys) == 1


def test_a_link_in_the_place_of_the_audit_log_is_not_followed(store: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (store / "audit.jsonl").symlink_to(tmp_path / "secret")
    file = tmp_path / "bundle.tar.gz"
    assert main(["support", str(file), "--store", str(store)]) == ExitCode.DONE
    files = opened(file)
    assert "audit.jsonl" not in files
    assert "audit.jsonl" in files["README.txt"]
    assert not any("hunter2" in text for text in files.values())


def test_a_wrong_configuration_is_told_of_and_its_store_is_found_all_the_same(
    store: Path, tmp_path: Path
) -> None:
    config, file = tmp_path / "tlsproxy.toml", tmp_path / "bundle.tar.gz"
    config.write_text('# hunter2\nstore = "store"\nsesame = "hunter2"\n[[listener]]\nadress = "hunter2"\n')
    assert main(["support", str(file), "--config", str(config)]) == ExitCode.DONE
    files = opened(file)
    check = json.loads(files["check.json"])
    assert not check["good"]
    assert {one["key"] for one in check["mistakes"]} >= {"sesame", "listener[0].adress"}
    assert json.loads(files["configuration.json"])["store"] == "store"
    assert json.loads(files["status.json"])["generation"] == 1
    assert not any("hunter2" in text for text in files.values())


@pytest.mark.parametrize("text", [None, "= no toml at all", 'store = "gone"\n'])
def test_a_bundle_comes_where_there_is_neither_a_good_file_nor_a_store(
    text: str | None, tmp_path: Path
) -> None:
    config, file = tmp_path / "tlsproxy.toml", tmp_path / "bundle.tar.gz"
    if text is not None:
        config.write_text(text)
    assert main(["support", str(file), "--config", str(config)]) == ExitCode.DONE
    files = opened(file)
    assert not json.loads(files["check.json"])["good"]
    assert json.loads(files["versions.json"])["installed"]["tlsproxy"]
    assert "status.json" in files["README.txt"]


def test_a_file_that_is_there_is_never_written_over(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.write_text("mine")
    assert main(["support", str(file), "--store", str(store)]) == ExitCode.MISUSE
    assert "exists already" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_proxy_that_was_silent_once_is_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(path))
        silent.listen(8)  # connects, and never answers
        asking = Asking(path, patience_s=0.1)
        package = Package("x", AT)
        parts = [Part(str(at), lambda: asking.page("/v1/health")) for at in range(50)]
        missing = collect(package, [*parts, Part("last", lambda: "here")], 60)
    (why,) = missing
    assert "no answer in time" in why
    assert len(missing[why]) == 50
    assert package.names == ["last"]


def test_a_part_that_fails_by_a_fault_of_ours_costs_no_other() -> None:
    def broken() -> str:
        raise KeyError("a bug")

    package = Package("x", AT)
    assert collect(package, [Part("a", broken), Part("b", lambda: {"c": 1})], 60) == {"'a bug'": ["a"]}
    assert package.names == ["b"]


def test_a_pipe_in_the_place_of_a_file_does_not_hold_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_PART_S", 0.3)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    package = Package("x", AT)
    missing = collect(package, [Part("a", pipe.read_text), Part("b", lambda: "here")], 60)
    assert missing == {"it took too long": ["a"]}
    assert package.names == ["b"]
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_nothing_is_begun_when_the_time_is_over() -> None:
    package = Package("x", AT)
    assert collect(package, [Part("a", lambda: "text")], -1) == {"no time was left": ["a"]}
    assert package.names == []


def test_files_are_cut_and_left_out_where_they_would_be_too_much() -> None:
    package = Package("x", AT, most_bytes=policy.SUPPORT_FILE_BYTES + 10)
    long = "begin\n" + "x\n" * policy.SUPPORT_FILE_BYTES + "end\n"
    assert collect(
        package,
        [Part("a", lambda: long, keep_end=True), Part("b", lambda: "y" * 11), Part("c", lambda: "z" * 10)],
        60,
    ) == {"no room was left": ["b"]}
    assert package.names == ["a", "c"]
    assert len(package.to_bytes()) < 20_000
    head = Package("x", AT)
    assert head.add("a", long)
