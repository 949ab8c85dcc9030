"""What a passphrase protects, by `certs import` and `doctor`: where it may come from and never shows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from certstore import State, read_generation, read_receipts
from tests.intake import FOLDER
from tests.storing import files_under
from tlsproxy.cli import main
from tlsproxy.errors import ExitCode

PASSPHRASE = "sesame42"
FILE = str(FOLDER / "files" / "p12-openssl-aes" / "device.p12")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\r\nnot this line\n")
    return path


def test_the_first_line_of_a_file_opens_a_container_and_is_kept_nowhere(store, passphrase, capsys):
    words = ["certs", "import", FILE, "--store", str(store), "--passphrase-file", str(passphrase)]
    assert main([*words, "--json"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert json.loads(said.out)["state"] == "confirmed"
    assert PASSPHRASE not in said.out + said.err
    for name, content in files_under(store).items():
        assert PASSPHRASE.encode() not in (content or b""), name


def test_stdin_opens_it_too(store, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSPHRASE}\n"))
    assert main(["certs", "import", FILE, "--store", str(store), "--passphrase-file", "-"]) == ExitCode.DONE


def test_a_wrong_one_is_refused_and_told_apart_from_a_missing_one(store, passphrase, capsys):
    words = ["certs", "import", FILE, "--store", str(store)]
    assert main(words) == ExitCode.FAILED
    assert "[passphrase_needed]" in (said := capsys.readouterr().err)
    assert "--passphrase-file" in said
    passphrase.write_text("sesame43\n")
    assert main([*words, "--passphrase-file", str(passphrase)]) == ExitCode.FAILED
    assert "[passphrase_wrong]" in capsys.readouterr().err
    assert read_generation(store) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff\xfe\0" * 8, "UTF-8"), (b"x" * 2000, "at most 1024 bytes"), (None, "can't be read")],
)
def test_what_is_no_passphrase_is_misuse(store, passphrase, capsys, content, words):
    passphrase.unlink() if content is None else passphrase.write_bytes(content)
    command = ["certs", "import", FILE, "--store", str(store), "--passphrase-file", str(passphrase)]
    assert main(command) == ExitCode.MISUSE
    assert words in capsys.readouterr().err


def test_stdin_cant_be_both_and_no_option_or_variable_takes_the_passphrase_itself(store, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(FILE).read_bytes())))
    words = ["certs", "import", "-", "--store", str(store), "--passphrase-file", "-"]
    assert main(words) == ExitCode.MISUSE
    assert "stdin can't be both" in capsys.readouterr().err
    assert main(["certs", "import", "--help"]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "--passphrase-file" in said
    assert "--passphrase " not in said
    assert "PASSPHRASE" not in said


def on_a_terminal(words: list[str], answers: list[bytes]) -> tuple[int, bytes]:
    """Run a command on a terminal, and answer whenever it asks; gives its exit code and what it said."""
    ours, theirs = os.openpty()
    said = b""
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        command = [sys.executable, "-m", "tlsproxy", *words]
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        try:
            for number, answer in enumerate(answers, 1):
                while said.count(b"passphrase: ") < number:
                    said += terminal.read(4096)
                terminal.write(answer + b"\n")
            while part := terminal.read(4096):
                said += part
        except OSError:  # EIO: the other end is closed
            pass
        return process.wait(60), said


def test_a_person_at_the_terminal_is_asked_and_asked_again_and_no_refusal_is_left(store):
    words = ["certs", "import", FILE, "--store", str(store)]
    code, said = on_a_terminal(words, [b"sesame43", PASSPHRASE.encode()])
    assert code == 0, said
    assert b"device.p12 is protected by a passphrase" in said
    assert b"the passphrase doesn't open" in said
    assert b"sesame" not in said
    assert [receipt.state for receipt in read_receipts(store)[0]] == [State.CONFIRMED]


def test_a_person_who_doesnt_know_it_is_asked_three_times_and_then_refused(store):
    code, said = on_a_terminal(["certs", "import", FILE, "--store", str(store)], [b"a", b"b", b"c"])
    assert code == 1, said
    assert said.count(b"passphrase: ") == 3
    assert b"[passphrase_wrong]" in said


def test_who_hands_in_what_needs_none_is_not_asked(store):
    plain = str(FOLDER / "files" / "p12-empty-openssl" / "device.p12")
    code, said = on_a_terminal(["certs", "import", plain, "--store", str(store)], [])
    assert code == 0, said
    assert b"passphrase" not in said


class TestTheDoctor:
    """Opens what an import would open, by the same ways, and keeps nothing."""

    def test_a_file_opens_it_and_a_wrong_one_is_told_apart_from_none(self, passphrase, capsys):
        assert main(["doctor", FILE]) == ExitCode.FAILED
        assert "[passphrase_needed]" in capsys.readouterr().out
        words = ["doctor", FILE, "--passphrase-file", str(passphrase)]
        assert main(words) == ExitCode.DONE
        said = capsys.readouterr()
        assert "verdict: would be accepted" in said.out
        assert PASSPHRASE not in said.out + said.err
        passphrase.write_text("sesame43\n")
        assert main(words) == ExitCode.FAILED
        assert "[passphrase_wrong]" in capsys.readouterr().out

    def test_stdin_opens_it_but_cant_be_both(self, monkeypatch, capsys):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSPHRASE}\n"))
        assert main(["doctor", FILE, "--passphrase-file", "-"]) == ExitCode.DONE
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(FILE).read_bytes())))
        assert main(["doctor", "-", "--passphrase-file", "-"]) == ExitCode.MISUSE
        assert "stdin can't be both" in capsys.readouterr().err

    def test_a_person_at_the_terminal_is_asked(self):
        code, said = on_a_terminal(["doctor", FILE], [b"sesame43", PASSPHRASE.encode()])
        assert code == 0, said
        assert b"the passphrase doesn't open" in said
        assert b"verdict: would be accepted" in said
        assert b"sesame" not in said
