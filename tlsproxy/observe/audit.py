"""The audit log: who changed what, when, and what came of it; a file beside the store's own, and the log.

Promises: one JSON object a line, one line a change, only ever appended and on the disk when `note` returns;
the file is ours alone (0600), and grows to a bound before it is put aside, a few times. A line that can't be
written is told in the log, once until one can: the change has happened, and nothing is served by undoing it.
Refuses to know what may be changed, and by whom.

Theory. Who reads it wants to know who did it, so that is never taken from what somebody says about himself:
`via` is a word that a client of the control socket may choose, `Actor` is what the kernel told (SO_PEERCRED),
or which part of the house acted. A power cut may leave half a line at the end; the next one begins on a line
of its own. Writing and syncing takes two milliseconds, for which the caller waits: changes are rare, their
order counts, and a reload, which ends this process image, finds nothing half done.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

from certstore import Cause, Receipt
from tlsproxy import policy
from tlsproxy.observe.log import logger

__all__ = ["ITSELF", "SIGNAL", "SOCKET", "WIRE", "Actor", "AuditLog", "audit_files"]

_log = logger("audit")
NAME = "audit.jsonl"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something: `by` says by which way; uid and pid are the socket's peer's, or the command's.

    command: one that changes the store itself, while no proxy runs.
    """

    by: Literal["socket", "command", "signal", "inbox", "watch", "identity", "itself", "wire"]
    uid: int | None = None
    pid: int | None = None

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        """Give who brought a candidate that came by no socket: the part of the house that its `via` names."""
        if receipt.via == "identity":
            return cls("identity")
        if receipt.via != "inbox" and not receipt.via.startswith("watch:"):
            return cls("socket")  # of the image before a reload, which had no time to say whose
        return cls("watch" if receipt.via.startswith("watch:") else "inbox")

    def facts(self) -> dict[str, object]:
        """Give what is told of it."""
        known = {"uid": self.uid, "pid": self.pid}
        return {"by": self.by, **{name: value for name, value in known.items() if value is not None}}


SOCKET, SIGNAL, ITSELF, WIRE = Actor("socket"), Actor("signal"), Actor("itself"), Actor("wire")
"""A peer whom nobody has asked the kernel about; who sent a signal, whom it doesn't tell; the proxy; a client
who had the word that confirms a change."""


_WHAT = {
    Cause.ROLLBACK: "roll_back",
    Cause.ACTIVATION: "activate",
    Cause.REMOVAL: "remove",
    Cause.RESET: "reset",
    Cause.BAN: "ban",
}


def audit_files(folder: Path) -> tuple[Path, ...]:
    """Give where the log and its older parts may lie, the newest first."""
    return (folder / NAME, *(folder / f"audit.{number}.jsonl" for number in range(1, policy.AUDIT_KEPT + 1)))


def _log_trouble(error: OSError) -> None:
    _log.error("audit_not_written", file=error.filename, why=error.strerror)


class AuditLog:
    """Appends to `audit.jsonl` in a folder, which is there. Any thread may note."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], datetime],
        most_bytes: int = policy.AUDIT_BYTES,
        told: Callable[[OSError], None] = _log_trouble,
    ) -> None:
        """Take where, the clock, a file's bound, and who is told of trouble with the disk."""
        self._folder, self._clock, self._most, self._told = folder, clock, most_bytes, told
        self._one = threading.Lock()
        self._failing = False

    def note(self, actor: Actor, what: str, outcome: str, **facts: object) -> None:
        """Append a line about a change; facts that are None are left out."""
        known = {name: value for name, value in facts.items() if value is not None}
        line = {"at": self._clock().isoformat(), **actor.facts(), "what": what, "outcome": outcome, **known}
        data = json.dumps(line, ensure_ascii=True, default=str).encode("ascii") + b"\n"
        with self._one:
            try:
                self._append(data)
            except OSError as error:
                if not self._failing:
                    self._told(error)
                self._failing = True
            else:
                self._failing = False

    def note_receipt(self, actor: Actor, receipt: Receipt, what: str | None = None) -> None:
        """Append a line about what became of a candidate, or of another change: `what`, else its cause."""
        self.note(
            actor,
            what or _WHAT.get(receipt.cause, "propose"),
            str(receipt.state),
            receipt=receipt.id,
            source=str(receipt.source),
            via=receipt.via,
            bundle=receipt.bundle,
            beside=receipt.beside,
            generation=receipt.generation,
            codes=list(receipt.codes) or None,
        )

    def _append(self, data: bytes) -> None:
        path = self._folder / NAME
        fd = self._open(path)
        try:
            size = os.fstat(fd).st_size
            if size and size + len(data) > self._most:
                os.close(fd)
                fd = -1
                self._put_aside()
                fd, size = self._open(path), 0
            if size and os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
            if not size:
                self._sync_folder()
        finally:
            if fd >= 0:
                os.close(fd)

    def _open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _put_aside(self) -> None:
        """Rename the full file to the first of those that are kept; the last of them is overwritten."""
        for newer, older in reversed(list(pairwise(audit_files(self._folder)))):
            with suppress(FileNotFoundError):
                newer.replace(older)
        self._sync_folder()

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
