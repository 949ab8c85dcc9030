"""How commands end: one error line, one hint line, an exit code, and never a traceback."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from certstore import Refusal, StoreLocked, found
from tlsproxy.cli import main
from tlsproxy.cli.endings import ended
from tlsproxy.errors import ConfigError, ExitCode, ListenError, Mistake


def ending(error: BaseException) -> int:
    def command() -> None:
        raise error

    return ended(command)


def spoken(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else ""


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (
            ListenError("[::]:443", "another program listens there", "stop it"),
            1,
            [
                "tlsproxy: error: can't listen on [::]:443: another program listens there",
                "tlsproxy: hint: stop it",
            ],
        ),
        (
            ListenError("127.0.0.1:443", "another program listens there"),
            1,
            [
                "tlsproxy: error: can't listen on 127.0.0.1:443: another program listens there",
                "tlsproxy: hint: name another address, or see who has this one: ss -ltnp",
            ],
        ),
        (
            ConfigError([Mistake("a", 1, "is wrong", "so"), Mistake("b", 2, "is wrong")], "x.toml"),
            2,
            [
                "tlsproxy: error: x.toml: line 1: a: is wrong (and 1 more)",
                "tlsproxy: hint: tlsproxy check --config x.toml says all of them",
            ],
        ),
        (
            ConfigError([Mistake("a", 1, "is wrong")], "x.toml"),
            2,
            [
                "tlsproxy: error: x.toml: line 1: a: is wrong",
                "tlsproxy: hint: mend the file, and see by tlsproxy check --config x.toml that it is good",
            ],
        ),
        (
            StoreLocked(Path("/s"), "process 7"),
            1,
            [
                "tlsproxy: error: the store /s is in use by process 7",
                "tlsproxy: hint: stop that process first: a store has one at a time",
            ],
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "/s/x"),
            1,
            ["tlsproxy: error: /s/x: no space left on device"],
        ),
        (
            RuntimeError("two\nlines"),
            1,
            [
                "tlsproxy: error: RuntimeError: two lines",
                "tlsproxy: hint: this is a bug: please report it; TLSPROXY_TRACEBACK=1 shows where",
            ],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_becomes_one_error_line_and_one_hint_line(
    error: Exception, code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(error) == code
    out = capsys.readouterr()
    assert out.err.splitlines() == lines
    assert not out.out


def test_a_refusal_says_its_words_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    finding = found("file_missing", file="x.pem")
    assert ending(Refusal(finding)) == ExitCode.FAILED
    assert finding.words in capsys.readouterr().err


def test_of_a_group_of_errors_the_one_raised_on_purpose_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    group = ExceptionGroup(
        "", [RuntimeError("noise"), ExceptionGroup("", [ListenError("a:1", "it is taken")])]
    )
    assert ending(group) == ExitCode.FAILED
    assert capsys.readouterr().err.startswith("tlsproxy: error: can't listen on a:1: it is taken\n")


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt(), RuntimeError("x")])]
)
def test_an_interrupt_ends_quietly(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(error) == ExitCode.INTERRUPTED
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "no such command"),
        (["run", "--bar"], "no such option"),
        (["certs", "import"], "missing argument"),
        (["run"], "nothing to run"),
        (["run", "--listen", ":443", "--upstream", "http://a"], "where shall keys"),
        (["run", "--config", "x", "--listen", ":1"], "--config excludes"),
        (["run", "--config", "x", "--store", "s"], "--config excludes --store"),
        (["status", "--config", "x", "--store", "s"], "exclude each other"),
        (
            ["run", "--listen", "443", "--upstream", "https://x", "--store", "s"],
            "--listen: '443' has no host",
        ),
        (["run", "--config", "/nonexistent/x.toml"], "no such file"),
        (["status", "--store", "/nonexistent/store"], "there is no store"),
    ],
    ids=spoken,
)
def test_misuse_ends_with_two_and_says_how_it_is_meant(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == ExitCode.MISUSE
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tlsproxy: error: ")
    assert words in lines[0]
    assert lines[1].startswith("tlsproxy: hint: ")
    assert len(lines) == 2


def test_without_a_command_the_help_is_shown_and_it_counts_as_misuse(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == ExitCode.MISUSE
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([*words.split(), "-h"] for words in ("run", "check", "certs import", "status", "demo"))],
    ids=spoken,
)
def test_every_command_explains_itself_with_examples(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == ExitCode.DONE
    help_ = capsys.readouterr().out
    assert "\n  Examples:\n    " in help_
    assert help_.count("\n    tlsproxy ") >= 2


def test_help_loads_neither_the_event_loop_nor_the_network_nor_cryptography() -> None:
    code = (
        "import sys; from tlsproxy.cli import main; main(['--help']);"
        "heavy = {'trio', 'httpx2', 'starlette', 'cryptography', 'rich', 'msgspec', 'ssl', 'structlog'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == "[]\n"


def test_the_module_is_the_command_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tlsproxy", "--version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.startswith("tlsproxy 0.")


def test_a_reader_that_goes_away_is_no_bug() -> None:
    script = f"{sys.executable} -m tlsproxy --help | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr
