"""The examples at the end of every `--help`: each is there, and each names options that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from tlsproxy.cli import tlsproxy

LINE = re.compile(r"(?:^|[|(] ?)(?:sudo )?tlsproxy (.*)")


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


def examples(command: click.Command) -> list[str]:
    epilog = (command.epilog or "").splitlines()
    return [line.strip() for line in epilog if line.startswith("  ")]


ALL = dict(commands(tlsproxy))
EXAMPLES = [(path, line) for path, command in ALL.items() for line in examples(command)]


@pytest.mark.parametrize("path", ALL)
def test_every_command_has_examples(path: str) -> None:
    assert examples(ALL[path])


@pytest.mark.parametrize(("path", "line"), EXAMPLES)
def test_an_example_can_be_read_as_it_is_written(path: str, line: str) -> None:
    found = LINE.search(line)
    if found is None:
        assert "tlsproxy" not in line
        return
    words = shlex.split(re.split(r" *(?:[|>)]|&&) ?| \.\.\.$", found[1])[0], comments=True)
    command: click.Command = tlsproxy
    context = click.Context(command)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        after = command.get_command(context, words[0])
        assert after is not None, words[0]
        command, words = after, words[1:]
        context = click.Context(command, parent=context)
    command.make_parser(context).parse_args(words)  # raises for an option that there isn't
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    assert arguments or not [word for word in words if not word.startswith("-")] or "--" in " ".join(words)
