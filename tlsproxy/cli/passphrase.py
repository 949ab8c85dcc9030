"""Passphrases on the command line: from a file, from stdin, or from whoever sits at the terminal.

Never an argument and never the environment, which others can see. Nothing here remembers one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tlsproxy.errors import UsageError

if TYPE_CHECKING:
    from certstore import Candidate

__all__ = ["first_line", "opened"]

_TURNS: Final = 3  # as login(1) and ssh(1) ask


def first_line(path: Path, longest: int) -> str:
    """Read the first line of a file, or of stdin for `-`; at most so many characters and a few more."""
    try:
        if str(path) == "-":
            said = sys.stdin.readline(4 * longest)
        else:
            with path.open(encoding="utf-8") as file:
                said = file.readline(4 * longest)
    except UnicodeDecodeError:
        raise UsageError("the passphrase isn't text in UTF-8", "write it with other characters") from None
    except OSError as error:
        words = f"the passphrase can't be read from {path}: {(error.strerror or str(error)).lower()}"
        raise UsageError(words, "name a file whose first line is the passphrase") from error
    return said.rstrip("\r\n")


def opened(candidate: Candidate, files: Sequence[str], path: Path | None) -> Candidate:
    """Give the candidate with the passphrase that its files need.

    Without a file for it, a person at the terminal is asked where one is needed, and again where it is wrong.
    What is needed is found out here, in this process, before anything is handed in: a question that was
    answered is no refused certificate.
    """
    from certstore import LONGEST_PASSPHRASE, locked

    if path is not None:
        if str(path) == "-" and "-" in files:
            raise UsageError("stdin can't be both a certificate and its passphrase", "put one into a file")
        return replace(candidate, passphrases=(_bytes(first_line(path, LONGEST_PASSPHRASE)),))
    if sys.stdin is None or not sys.stdin.isatty():
        return candidate
    found = locked(candidate)
    for _ in range(_TURNS):
        if not found:
            break
        click.echo(found[0].words, err=True)
        said: str = click.prompt("passphrase", hide_input=True, err=True, default="", show_default=False)
        candidate = replace(candidate, passphrases=(_bytes(said),))
        found = locked(candidate)
    return candidate


def _bytes(said: str) -> bytes:
    from certstore import LONGEST_PASSPHRASE

    raw = said.encode("utf-8", "surrogateescape")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:  # a terminal that writes Latin-1
        raw = raw.decode("latin-1").encode("utf-8")
    if len(raw) > LONGEST_PASSPHRASE:
        words = f"a passphrase has at most {LONGEST_PASSPHRASE} bytes"
        raise UsageError(words, "is this the right file? its first line is taken")
    return raw
