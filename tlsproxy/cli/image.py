"""`tlsproxy check --image`: whether a root file system that is to become an image holds keys.

For a manufacturer's build, which ends with it. Reads only; who runs it must be able to read everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlsproxy.cli.endings import complain
from tlsproxy.cli.places import USUAL_CONFIG
from tlsproxy.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from certstore import Leak

__all__ = ["check_image"]


def check_image(root: Path, *, as_json: bool) -> int:
    """Say what every unit that is made of `root` would have in common; gives the exit code."""
    from certstore import leaks_of, stores_under

    leaks: list[Leak] = []
    try:
        stores = stores_under(root)
        inboxes = dict(_inboxes(root))
        for store in stores:
            leaks += leaks_of(store, inboxes.get(store))
        leaks += _machine_id(root)
    except OSError as error:
        why = f"{error.filename or root} can't be read: {(error.strerror or str(error)).lower()}"
        raise UsageError(why, "run it as a user who can read the whole image, as root if need be") from error
    bad = [leak for leak in leaks if leak.is_error]
    if as_json:
        listed = [
            {"path": str(leak.path), "severity": "error" if leak.is_error else "advice", "words": leak.words}
            for leak in leaks
        ]
        facts = {"image": str(root), "good": not bad, "stores": [str(store) for store in stores]}
        click.echo(json.dumps({**facts, "leaks": listed}, indent=2))
    else:
        for leak in leaks:
            click.echo(f"{leak.path}: {'error' if leak.is_error else 'advice'}: {leak.words}")
        if bad:
            hint = "leave the whole store out of the image: a first start makes it"
            complain(f"{root} holds what no two units may share", hint)
        else:
            click.echo(f"{root}: good: no certificate store in it holds a key")
    return ExitCode.FAILED if bad else ExitCode.DONE


def _inboxes(root: Path) -> Iterator[tuple[Path, Path]]:
    """Tell where the image's own configuration puts the inbox of its store."""
    from tlsproxy.config.reading import read

    file = _within(root, USUAL_CONFIG)
    if file.is_file():
        config = read(file.read_text("utf-8", "replace"), USUAL_CONFIG.parent).config
        if config is not None:
            yield _within(root, config.store), _within(root, config.inbox)


def _machine_id(root: Path) -> Iterator[Leak]:
    from certstore import Leak

    path = root / "etc" / "machine-id"
    if path.is_file() and len(path.read_bytes().strip()) == 32:
        words = "every unit would have this machine-id: empty the file (machine-id(5))"
        yield Leak(path, words, is_error=False)


def _within(root: Path, path: Path) -> Path:
    return root / path.relative_to(path.anchor)
