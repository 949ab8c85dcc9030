"""What goes into a support bundle, part by part: of the running proxy, of its store, of its machine.

Promises: works while a proxy runs, while none does, and while one runs that doesn't answer; one that was
silent once isn't asked again. Keys are nowhere read; of files in the store only the audit log's lines are
taken as they are. A symbolic link that lies where the audit log should is not followed: as root we could
read more than who put it there.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import trio

from certstore import read_generation, read_generations, read_receipts, read_slots
from tlsproxy import __version__, policy
from tlsproxy.config.reading import MAX_FILE_BYTES, Reading, read_file
from tlsproxy.control.client import Client
from tlsproxy.control.follower import Follower
from tlsproxy.errors import ControlError, Mistake
from tlsproxy.observe import processes
from tlsproxy.observe.audit import NAME as AUDIT
from tlsproxy.observe.rendering import render
from tlsproxy.observe.status import Status
from tlsproxy.software import loaded
from tlsproxy.support import machine
from tlsproxy.support.collecting import Part
from tlsproxy.support.inventory import required
from tlsproxy.support.masking import masked_configuration

__all__ = ["Subject", "parts_of"]

_EVENTS_S, _QUIET_S = 2.0, 0.5


class Asking:
    """Asks the running proxy, and gives up on one that was silent once."""

    def __init__(self, control: Path, patience_s: float = policy.SUPPORT_ANSWER_S) -> None:
        self.path, self._patience_s = control, patience_s
        self._silent: ControlError | None = None

    def page(self, target: str) -> str:
        """Give a page as it is. Raises ControlError."""
        if self._silent is not None:
            raise self._silent
        try:
            with Client(self.path, self._patience_s) as client:
                return client.page(target).decode("utf-8", "backslashreplace")
        except ControlError as error:
            if error.__cause__ is not None:  # not an answer that says no
                self._silent = error
            raise

    def document(self, target: str) -> dict[str, object]:
        """Give a page in JSON. Raises ControlError, ValueError."""
        found: dict[str, object] = json.loads(self.page(target))
        return found

    def events(self) -> str:
        """Give what followers can still be told, an event a line. Raises ControlError."""
        self.page("/v1/health/live")
        return trio.run(self._events)

    async def _events(self) -> str:
        lines: list[str] = []
        end = trio.current_time() + _EVENTS_S
        with trio.move_on_at(end) as scope:

            def tell(message: dict[str, object]) -> None:
                lines.append(json.dumps(message))
                scope.deadline = min(end, trio.current_time() + _QUIET_S)

            await Follower(self.path, tell, after=0).run()
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Subject:
    """What the bundle is about; config: the file, None where the proxy was started without one."""

    store: Path
    inbox: Path
    config: Path | None
    asking: Asking
    read_status: Callable[[], Status]
    """Tells the status by the store alone."""

    def running(self) -> Status | None:
        """Ask the proxy; None where none answers."""
        try:
            return Status.from_json(self.asking.document("/v1/status"))
        except (ControlError, ValueError):
            return None

    def status(self) -> Status:
        """Ask the proxy, or else the store. Raises UsageError, StoreError."""
        return self.running() or self.read_status()


def parts_of(subject: Subject) -> Iterator[Part]:
    """Give the parts, those that are needed most first."""
    ask = subject.asking
    yield Part("versions.json", lambda: _versions(subject))
    if (file := subject.config) is not None:
        yield Part("check.json", lambda: _check(read_file(file)))
        yield Part("configuration.json", lambda: _configuration(file))
    yield Part("status.json", lambda: subject.status().to_json())
    yield Part("status.txt", lambda: render(subject.status()))
    for name in ("health", "workers", "connections", "bundles"):
        yield Part(f"{name}.json", partial(ask.document, f"/v1/{name}"))
    yield Part("receipts.json", lambda: _receipts(subject.store))
    yield Part("generations.json", lambda: _generations(subject.store))
    yield Part("generation.json", lambda: _active(subject.store))
    yield Part("slots.json", lambda: _slots(subject.store))
    yield Part("audit.jsonl", lambda: _tail(subject.store / AUDIT), keep_end=True)
    yield Part("events.jsonl", ask.events, keep_end=True)
    yield Part("store.txt", lambda: _listing(subject.store))
    if not subject.inbox.is_relative_to(subject.store):
        yield Part("inbox.txt", lambda: _listing(subject.inbox))
    yield Part("processes.json", lambda: [processes.describe(pid) for pid in _pids(subject)])
    yield Part("listening.txt", lambda: "\n".join(machine.listening(_pids(subject))) + "\n")
    yield Part("metrics.txt", lambda: ask.page("/v1/metrics"))


def _versions(subject: Subject) -> dict[str, object]:
    """Tell what is installed, and what the running proxy has loaded: an upgrade may wait for its reload."""
    status = subject.running()
    running: dict[str, object] | None = None
    if status is not None and status.process is not None:
        running = {"tlsproxy": status.process.version, "epoch": status.process.epoch}
        running |= asdict(status.software) if status.software is not None else {}
    return {
        "tlsproxy": __version__,
        "this_command": asdict(loaded()),
        "running": running,
        "machine": machine.system(),
        "installed": _installed(),
    }


def _installed() -> dict[str, str] | str:
    """Give the packages with their versions, where we are one ourselves."""
    try:
        return {name: part.version for name, part in sorted(required("tlsproxy").items())}
    except PackageNotFoundError:
        return "tlsproxy isn't installed as a package"


def _check(reading: Reading) -> dict[str, object]:
    def listed(mistakes: tuple[Mistake, ...]) -> list[dict[str, object]]:
        return [asdict(one) for one in mistakes]

    good = reading.config is not None
    return {"good": good, "mistakes": listed(reading.mistakes), "advice": listed(reading.advice)}


def _configuration(file: Path) -> object:
    """Give the configuration without comments and what may be secret. Raises OSError, ValueError."""
    with file.open("rb") as opened:
        document = tomllib.loads(opened.read(MAX_FILE_BYTES).decode("utf-8-sig"))
    unknown = [one.key for one in read_file(file).mistakes if one.why.startswith("unknown")]
    return masked_configuration(document, unknown)


def _receipts(store: Path) -> dict[str, object]:
    receipts, damaged = read_receipts(store)
    newest = receipts[: -policy.SUPPORT_RECEIPTS - 1 : -1]
    return {"receipts": [one.to_json() for one in newest], "damaged": [str(one) for one in damaged]}


def _generations(store: Path) -> list[dict[str, object]]:
    return [
        {"number": one.number, "cause": one.cause, "receipt": one.receipt, "made_at": one.made_at.isoformat()}
        | {"names": len(one.rows), "default": one.default, "slots": len(one.slots)}
        for one in read_generations(store, policy.SUPPORT_GENERATIONS)
    ]


def _active(store: Path) -> dict[str, object] | None:
    active = read_generation(store)
    return None if active is None else active.to_json()


def _slots(store: Path) -> dict[str, object]:
    slots, damaged = read_slots(store)
    return {"slots": [one.to_json() for one in slots], "damaged": [str(one) for one in damaged]}


def _tail(file: Path) -> str:
    """Give the last lines of a file that is really one. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags), "rb") as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - policy.SUPPORT_FILE_BYTES))
        text = opened.read(policy.SUPPORT_FILE_BYTES).decode("utf-8", "backslashreplace")
    return "".join(text.splitlines(keepends=True)[-policy.SUPPORT_AUDIT_LINES :])


def _listing(folder: Path) -> str:
    return "\n".join(machine.listed(folder, policy.SUPPORT_LISTED)) + "\n"


def _pids(subject: Subject) -> list[int]:
    """Give the processes of the running proxy: the supervisor, its workers, its examiner."""
    status = subject.running()
    if status is None or status.process is None:
        return []
    others = {one.pid for one in status.workers} | {one.facts.pid for one in status.confinement}
    return [status.process.pid, *sorted(others - {status.process.pid})]
