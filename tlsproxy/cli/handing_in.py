"""Files from a command line to a receipt: read, then handed to the running proxy, or to the store itself.

Theory: between "no proxy answers" and "I have the lock" a proxy may start, and it holds the lock for its
whole life from a moment before it answers. So both are tried in turn until one succeeds: asking first,
since a proxy that runs must learn of the change; then the lock for a moment; and at last the lock's own
error, which names its holder.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from certstore import Candidate, Finding, InProcess, Receipt, Source, State, Store, StoreLocked, found
from tlsproxy.cli.places import Whereabouts
from tlsproxy.control.client import Client
from tlsproxy.errors import NotRunningError, UsageError

# certbot, openssl and appliances make files of a few KB; decode takes no more than 1 MiB either.
_MAX_FILE_BYTES = 1_048_576
# All together, so that they fit into a request (control/values.py) after base64.
_MAX_TOTAL_BYTES = 1_500_000
_LOCK_WAIT_S = 5.0
_LOCK_TURN_S = 0.25
_VIA = "cli"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the files: a receipt, or (where they couldn't even be read) findings without one."""

    receipt: Receipt | None
    unreadable: tuple[Finding, ...] = ()
    is_running: bool = True
    new_store: Path | None = None
    """The store, where there was none before: perhaps a mistyped path."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found."""
        return self.receipt.findings if self.receipt is not None else self.unreadable

    @property
    def is_refused(self) -> bool:
        """Say whether nothing changed."""
        return self.receipt is None or self.receipt.state is State.REFUSED

    def to_json(self) -> dict[str, object]:
        """Give the receipt, and whether a proxy runs; the id is null where the store never saw the files."""
        receipt = self.receipt
        if receipt is None:
            times = {State.REFUSED: datetime.now(UTC)}
            nowhere = ("000000-00000000", State.REFUSED, Source.CUSTOMER, _VIA, None, None)
            return {
                **Receipt(*nowhere, self.unreadable, times).to_json(),
                "id": None,
                "running": self.is_running,
            }
        return {**receipt.to_json(), "running": self.is_running}


def read_files(names: Sequence[str]) -> tuple[Candidate, tuple[Finding, ...]]:
    """Read the named files ("-" is stdin) into a candidate, with a finding for each that can't be read."""
    if names.count("-") > 1:
        raise UsageError("stdin can be read only once", "name - only once")
    files: list[tuple[str, bytes]] = []
    findings: list[Finding] = []
    for name in names:
        content = _read("stdin" if name == "-" else name, is_stdin=name == "-")
        if isinstance(content, Finding):
            findings.append(content)
        else:
            files.append((name, content))
    if not findings and sum(len(content) for _, content in files) > _MAX_TOTAL_BYTES:
        findings.append(found("file_too_large", file="all of it together", limit=_MAX_TOTAL_BYTES))
    return Candidate(tuple(files)), tuple(findings)


def hand_in(place: Whereabouts, candidate: Candidate, unreadable: tuple[Finding, ...]) -> Outcome:
    """Bring a candidate to its end; returns when it is live, stored (where no proxy runs), or refused.

    Raises:
        StoreError: the store can't be opened or written; StoreLocked after 5 s.
        ControlError: the running proxy can't be asked.

    """
    if unreadable:
        return Outcome(None, unreadable)
    new = None if place.store.exists() else place.store
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            with Client(place.control) as client:
                return Outcome(client.propose(candidate, _VIA))
        except NotRunningError:
            pass
        try:
            return Outcome(_store(place, candidate), is_running=False, new_store=new)
        except StoreLocked:
            if time.monotonic() > deadline:
                raise


def _store(place: Whereabouts, candidate: Candidate) -> Receipt:
    from tlsproxy.observe.audit import Actor, AuditLog
    from tlsproxy.policy import TLSPolicy
    from tlsproxy.tls.gate import HandshakeGate

    actor = Actor("command", uid=os.getuid(), pid=os.getpid())  # before we become somebody else
    _become_owner(place.store)
    examiner = InProcess(HandshakeGate(TLSPolicy(), place.engine))
    with Store.open(place.store, clock=lambda: datetime.now(UTC), lock_wait_s=_LOCK_TURN_S) as store:
        receipt = store.propose(candidate, source=Source.CUSTOMER, via=_VIA, examiner=examiner)
        AuditLog(store.path, lambda: datetime.now(UTC), told=_tell_unaudited).note_receipt(actor, receipt)
        return receipt


def _tell_unaudited(error: OSError) -> None:
    print(f"tlsproxy: warning: the audit log can't be written: {error.strerror}", file=sys.stderr)


def _become_owner(store: Path) -> None:
    """As root, take the identity of the store's owner: files made by root would lock the proxy out."""
    if os.geteuid() != 0 or not store.exists():
        return
    owner = store.stat()
    if owner.st_uid != 0:
        os.setgroups([owner.st_gid])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _read(name: str, *, is_stdin: bool) -> bytes | Finding:
    try:
        if is_stdin:
            content = sys.stdin.buffer.read(_MAX_FILE_BYTES + 1)
        else:
            with open(name, "rb") as file:  # noqa: PTH123  a pipe such as /dev/fd/63 is welcome too
                content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        return _finding(name, error)
    if len(content) > _MAX_FILE_BYTES:
        return found("file_too_large", file=name, limit=_MAX_FILE_BYTES)
    return content


def _finding(name: str, error: OSError) -> Finding:
    match error.errno:
        case errno.EISDIR:
            return found("is_directory", file=name)
        case errno.ELOOP:
            return found("symlink_loop", file=name)
        case errno.ENOENT if Path(name).is_symlink():
            return found("symlink_dangling", file=name)
        case errno.ENOENT | errno.ENOTDIR:
            return found("file_missing", file=name)
    return found("file_unreadable", file=name, why=(error.strerror or str(error)).lower())
