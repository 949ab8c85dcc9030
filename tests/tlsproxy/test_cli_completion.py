"""`tlsproxy completion`, in the shells themselves where they are there; and every command's `--help`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from tlsproxy import cli
from tlsproxy.cli import main
from tlsproxy.errors import ExitCode


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a PATH on which `tlsproxy` is this very code."""
    program = tmp_path / "tlsproxy"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tlsproxy "$@"\n')
    program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == ExitCode.DONE
    return capsys.readouterr().out


def test_bash_completes_commands_and_options(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    ask = script("bash", capsys) + (
        "\nCOMP_WORDS=(tlsproxy certs im) COMP_CWORD=2\n"
        'COMPREPLY=(); _tlsproxy_completion tlsproxy; echo "${COMPREPLY[@]}"\n'
        "COMP_WORDS=(tlsproxy workers --js) COMP_CWORD=2\n"
        'COMPREPLY=(); _tlsproxy_completion tlsproxy; echo "${COMPREPLY[@]}"\ncomplete -p tlsproxy\n'
    )
    done = subprocess.run(
        ["bash", "--norc"],
        input=ask,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    commands, options, told = done.stdout.splitlines()
    assert (commands, options) == ("import", "--json")
    assert told.endswith("tlsproxy")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_accept_their_script(
    shell: str, capsys: pytest.CaptureFixture[str], tool: Callable[[str], str]
) -> None:
    made = script(shell, capsys)
    assert f"_TLSPROXY_COMPLETE={shell}_complete" in made
    subprocess.run([tool(shell), "-n"], input=made, text=True, check=True, timeout=60)


def test_fish_completes_commands_and_options(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Callable[[str], str]
) -> None:
    ask = script("fish", capsys) + "\ncomplete -C 'tlsproxy certs im'; complete -C 'tlsproxy workers --js'\n"
    done = subprocess.run(
        [tool("fish"), "--no-config"],
        input=ask,
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["import", "--json"], done.stderr


def test_another_shell_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == ExitCode.MISUSE
    assert "tcsh" in capsys.readouterr().err


def commands(group: click.Command, *before: str) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(before), group
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, *before, name)


@pytest.mark.parametrize(("name", "command"), list(commands(cli.tlsproxy, "tlsproxy")))
def test_every_help_ends_with_examples_of_that_very_command(name: str, command: click.Command) -> None:
    lines = (command.epilog or "").splitlines()
    assert "Examples:" in lines, "see cli/examples.py"
    first, *rest = name.split()
    given = [line for line in lines if first in line]
    assert given, name
    assert any(all(word in line.split() for word in rest) for line in given), name
    assert command.get_short_help_str(), name
