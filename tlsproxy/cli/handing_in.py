"""Files from a command line to a receipt: read, then handed to the running proxy, or to the store itself."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from certstore import Candidate, Finding, Reason, Receipt, Source, State, Store, found
from tlsproxy.cli.either import VIA, by_proxy_or_here
from tlsproxy.cli.examining import examiner_here
from tlsproxy.cli.places import Whereabouts
from tlsproxy.control.client import Client
from tlsproxy.errors import UsageError
from tlsproxy.policy import PROBATION_S

# certbot, openssl and appliances make files of a few KB; decode takes no more than 1 MiB either.
_MAX_FILE_BYTES = 1_048_576
# All together, so that they fit into a request (control/values.py) after base64.
_MAX_TOTAL_BYTES = 1_500_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the files: a receipt, or (where they couldn't even be read) findings without one."""

    receipt: Receipt | None
    unreadable: tuple[Finding, ...] = ()
    is_running: bool = True
    new_store: Path | None = None
    """The store, where there was none before: perhaps a mistyped path."""
    confirm_word: str = field(default="", repr=False)
    """What confirms it over the network, where it waits for that."""

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
            nowhere = ("000000-00000000", State.REFUSED, Source.CUSTOMER, VIA, None, None)
            return {
                **Receipt(*nowhere, self.unreadable, times).to_json(),
                "id": None,
                "running": self.is_running,
            }
        word = {"confirm_word": self.confirm_word} if self.confirm_word else {}
        return {**receipt.to_json(), "running": self.is_running, **word}


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


@dataclass(frozen=True, slots=True)
class Probation:
    """How long a change may wait for somebody's word: as was said, else as fits who asks.

    asked_s: what was said, 0 for none. is_terminal: a person is there, who can confirm. Where no proxy runs
    nothing is served yet, so that nobody could find out whether it can be reached.
    """

    asked_s: int | None
    is_terminal: bool

    def of(self, *, is_running: bool) -> int | None:
        """Give the seconds; None: it needs no confirmation."""
        if self.asked_s is not None:
            return self.asked_s or None
        return PROBATION_S if self.is_terminal and is_running else None


def hand_in(
    place: Whereabouts,
    candidate: Candidate,
    unreadable: tuple[Finding, ...],
    confirm_within_s: Probation,
    reason: Reason = Reason.SUPERSEDED,
    *,
    beside: bool = False,
) -> Outcome:
    """Bring a candidate to its end; returns when it is live, stored (where no proxy runs), or refused.

    beside: as `Store.propose` takes it.

    Raises:
        StoreError: the store can't be opened or written; StoreLocked after 5 s.
        PrivilegeError: this is root, and the store isn't the service's.
        ControlError: the running proxy can't be asked.

    """
    if unreadable:
        return Outcome(None, unreadable)
    new = None if place.known is None or place.store.exists() else place.store
    within_s = confirm_within_s.of(is_running=True)

    word = ""

    def ask(client: Client) -> Receipt:
        nonlocal word
        receipt, word = client.upload(candidate, VIA, within_s, reason, beside=beside)
        return receipt

    def store(held: Store) -> Receipt:
        return held.propose(
            candidate,
            source=Source.CUSTOMER,
            via=VIA,
            examiner=examiner_here(place, held),
            confirm_within_s=confirm_within_s.of(is_running=False),
            reason=reason,
            beside=beside,
        )

    done = by_proxy_or_here(place, "propose", ask, store)
    new = None if done.is_running else new
    return Outcome(done.value, is_running=done.is_running, new_store=new, confirm_word=word)


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
