"""`tlsproxy check`: everything that is wrong, in a form for people and editors, and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlsproxy.cli import main
from tlsproxy.errors import ExitCode

GOOD = """\
store = "s"
[[listener]]
address = "127.0.0.1:8443"
[[route]]
upstream = "http://10.0.0.1:3000"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tlsproxy.toml"


def test_all_mistakes_are_listed_as_compilers_do(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(GOOD.replace("address", "adress") + "[limits]\nidle = 3\n")
    assert main(["check", "--config", str(path)]) == ExitCode.MISUSE
    out = capsys.readouterr()
    assert out.out.splitlines() == [
        f"{path}:2: error: listener[0].address: is missing",
        f"{path}:3: error: listener[0].adress: unknown key",
        "    hint: did you mean address?",
        f"{path}:7: error: limits.idle: unknown key",
        "    hint: did you mean idle_s?",
    ]
    assert not out.err


def test_a_good_file_is_said_to_be_good_and_advice_does_not_count(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(GOOD)
    assert main(["check", "--config", str(path)]) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"{path}:5: advice: route[0].upstream: http://10.0.0.1:3000 is another machine"
    )
    assert lines[-1] == f"{path}: good: 1 listener, 1 route"


def test_programs_get_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("bogus = 1\n" + GOOD)
    assert main(["check", "--config", str(path), "--json"]) == ExitCode.MISUSE
    document = json.loads(capsys.readouterr().out)
    assert document["good"] is False
    assert document["advice"] == []
    (mistake,) = document["mistakes"]
    assert (mistake["key"], mistake["line"], mistake["why"]) == ("bogus", 1, "unknown key")


def test_a_user_that_there_is_not_on_this_machine_is_advice(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text('user = "no-such-user"\n' + GOOD)
    assert main(["check", "--config", str(path)]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert f"{path}: advice: user: there is no user no-such-user on this machine" in out
    assert "useradd --system" in out
    assert main(["check", "--config", str(path), "--json"]) == ExitCode.DONE
    assert [one["key"] for one in json.loads(capsys.readouterr().out)["advice"]][-1] == "user"


def test_checking_changes_nothing_on_the_disk(path: Path) -> None:
    path.write_text(GOOD)
    main(["check", "--config", str(path)])
    assert sorted(path.parent.iterdir()) == [path]
