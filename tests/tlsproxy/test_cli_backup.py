"""`tlsproxy backup` and `restore`: what a person types, and what never gets where others can see it."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from certstore import InProcess, Source, read_generation
from tests.storing import files_under
from tlsproxy.cli import main
from tlsproxy.cli.either import open_store
from tlsproxy.errors import ExitCode

PASSPHRASE = "correct horse"


@pytest.fixture
def store(tmp_path: Path, pki) -> Path:
    path = tmp_path / "store"
    with open_store(path, 0.0) as held:
        held.propose(pki.leaf().bundle(), source=Source.CUSTOMER, via="before", examiner=InProcess())
    return path


@pytest.fixture
def passphrase(tmp_path: Path) -> str:
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\nnot this line\n")
    return str(path)


@pytest.fixture
def backup(tmp_path: Path, store: Path, passphrase: str) -> Path:
    path = tmp_path / "device.backup"
    words = ["backup", str(path), "--store", str(store), "--passphrase-file", passphrase]
    assert main(words) == ExitCode.DONE
    return path


def test_a_backup_is_for_its_maker_alone_and_shows_nothing(backup, store):
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    content = backup.read_bytes()
    assert content.startswith(b"tlsproxy-backup 1 ")
    assert b"PRIVATE" not in content
    assert b"device.test" not in content


def test_it_is_made_while_the_proxy_runs_and_restored_on_another_device(store, tmp_path, passphrase, capsys):
    file, other = tmp_path / "b", tmp_path / "other"
    with open_store(store, 0.0):  # a proxy holds it
        words = ["backup", str(file), "--store", str(store), "--passphrase-file", passphrase, "--json"]
        assert main(words) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["certificates"] == [{"source": "customer", "names": ["device.test"]}]
    assert told["bytes"] == file.stat().st_size
    words = ["restore", str(file), "--store", str(other), "--passphrase-file", passphrase]
    assert main(words) == ExitCode.DONE
    assert "restored: generation 2" in capsys.readouterr().out
    restored, original = read_generation(other), read_generation(store)
    assert restored is not None
    assert original is not None
    assert restored.rows == original.rows


def test_a_store_that_a_proxy_holds_is_not_restored(backup, store, passphrase, capsys):
    before = read_generation(store)
    with open_store(store, 0.0):
        words = ["restore", str(backup), "--store", str(store), "--passphrase-file", passphrase]
        assert main(words) == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "in use by process" in said
    assert "stop that process first" in said
    assert read_generation(store) == before


def test_a_wrong_passphrase_touches_nothing(backup, tmp_path, passphrase, capsys):
    Path(passphrase).write_text("another horse\n")
    other = tmp_path / "other"
    words = ["restore", str(backup), "--store", str(other), "--passphrase-file", passphrase]
    assert main(words) == ExitCode.FAILED
    assert "passphrase is another one" in capsys.readouterr().err
    assert not other.exists()


def test_half_a_file_touches_nothing(backup, store, passphrase, capsys):
    backup.write_bytes(backup.read_bytes()[:-100])
    before = files_under(store)
    words = ["restore", str(backup), "--store", str(store), "--passphrase-file", passphrase]
    assert main(words) == ExitCode.FAILED
    assert capsys.readouterr().err.startswith("tlsproxy: error: the backup can't be read")
    assert files_under(store) == before


def test_the_passphrase_may_come_by_stdin(store, tmp_path, passphrase, monkeypatch):
    file = tmp_path / "b"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSPHRASE}\n"))
    assert main(["backup", str(file), "--store", str(store)]) == ExitCode.DONE
    words = ["restore", str(file), "--store", str(tmp_path / "o"), "--passphrase-file", passphrase]
    assert main(words) == ExitCode.DONE


@pytest.mark.parametrize("said", ["short\n", "", "x" * 1025 + "\n"])
def test_a_passphrase_that_protects_nothing_is_misuse(store, tmp_path, monkeypatch, said, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    assert main(["backup", str(tmp_path / "b"), "--store", str(store)]) == ExitCode.MISUSE
    assert "8 to 1024 characters" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_short_passphrase_in_a_file_is_told_with_the_file(store, tmp_path, capsys):
    file = tmp_path / "words"
    file.write_text("short\n")
    words = ["backup", str(tmp_path / "b"), "--store", str(store), "--passphrase-file", str(file)]
    assert main(words) == ExitCode.MISUSE
    assert f"hint: it is the first line of {file}" in capsys.readouterr().err


def test_a_passphrase_that_is_no_text_is_misuse(store, tmp_path, capsys):
    path = tmp_path / "p"
    path.write_bytes(b"\xff\xfe\x00" * 8)
    words = ["backup", str(tmp_path / "b"), "--store", str(store), "--passphrase-file", str(path)]
    assert main(words) == ExitCode.MISUSE
    assert "UTF-8" in capsys.readouterr().err


def test_no_option_takes_the_passphrase_itself(capsys):
    for command in ("backup", "restore"):
        assert main([command, "--help"]) == ExitCode.DONE
        assert "--passphrase " not in capsys.readouterr().out


def test_what_exists_is_not_written_over(backup, store, passphrase, capsys):
    before = backup.read_bytes()
    words = ["backup", str(backup), "--store", str(store), "--passphrase-file", passphrase]
    assert main(words) == ExitCode.MISUSE
    assert "exists already" in capsys.readouterr().err
    assert backup.read_bytes() == before


def test_on_a_terminal_it_is_asked_for_twice_and_not_shown(store, tmp_path):
    file = tmp_path / "b"
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "tlsproxy", "backup", str(file), "--store", str(store)]
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        said = b""
        try:
            for asked in (b"passphrase: ", b"confirmation: "):
                while asked not in said:
                    said += terminal.read(4096)
                terminal.write(PASSPHRASE.encode() + b"\n")
            while part := terminal.read(4096):
                said += part
        except OSError:  # EIO: the other end is closed
            pass
        assert process.wait(60) == 0, said
    assert PASSPHRASE.encode() not in said
    assert file.exists()


def test_an_empty_backup_changes_nothing_and_says_how_to_replace_a_unit(tmp_path, passphrase, pki, capsys):
    store, file = tmp_path / "store", tmp_path / "b"
    with open_store(store, 0.0) as held:
        own = pki.leaf(issuer=None).bundle()
        held.propose(own, source=Source.GENERATED, via="before", examiner=InProcess())
    words = ["--store", str(store), "--passphrase-file", passphrase]
    assert main(["backup", str(file), *words]) == ExitCode.DONE
    assert main(["restore", str(file), *words, "--json"]) == ExitCode.FAILED
    assert '"backup_empty"' in capsys.readouterr().out
    assert main(["restore", str(file), *words]) == ExitCode.FAILED
    assert "--identity" in capsys.readouterr().err
    assert main(["restore", str(file), *words, "--identity"]) == ExitCode.DONE


def test_a_store_that_isnt_there_gives_no_backup(tmp_path, passphrase, capsys):
    words = ["--store", str(tmp_path / "none"), "--passphrase-file", passphrase]
    assert main(["backup", str(tmp_path / "b"), *words]) == ExitCode.MISUSE
    assert not (tmp_path / "b").exists()
