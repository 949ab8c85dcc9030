"""What can go wrong with a store or a candidate, and whose word it is.

`StoreError` is ours: the disk, the lock, the rights. It says what an administrator can do. `Refusal` is the
candidate's: somebody handed in something that must not be served. Neither knows how it will be shown; both
keep their facts in fields and make their words last.
"""

# ruff: noqa: N818  the names say what is the matter (trio's and the interface's way); all end in a StoreError

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar

from certstore.findings import Finding, Severity

__all__ = [
    "AnswersUngiven",
    "BackupUnreadable",
    "NotFound",
    "RandomNotReady",
    "Refusal",
    "StoreCorrupt",
    "StoreError",
    "StoreExhausted",
    "StoreGone",
    "StoreInsecure",
    "StoreLocked",
    "StoreNewer",
    "StoreNotWritable",
]


class StoreError(Exception):
    """The store itself can't do what was asked; nothing that is served has changed.

    `code` is stable (snake_case); `hint` says what to do; `str()` is one lower-case line.
    """

    code: ClassVar[str] = "store_failed"

    @property
    def hint(self) -> str:
        """What an administrator can do about it."""
        return "look at the store's file system and its log"


class StoreInsecure(StoreError):
    """Others than its owner can reach into the store, so its keys may be known to them."""

    code = "store_insecure"

    def __init__(self, path: PurePath, mode: int, owner: int | None = None) -> None:
        """Take the folder, its permission bits, and its owner's uid where that is what is wrong."""
        super().__init__(path, mode, owner)
        self.path, self.mode, self.owner = path, mode, owner

    def __str__(self) -> str:
        if self.owner is not None:
            return f"the store {self.path} belongs to the user with id {self.owner}, not to us"
        return f"the store {self.path} is open to others (mode {self.mode & 0o7777:04o})"

    @property
    def hint(self) -> str:
        """The command that mends it."""
        if self.owner is not None:
            return f"run as the store's owner, or: chown -R $(id -u) {self.path}"
        return f"chmod 700 {self.path}; if a stranger could have read the keys in it, replace them"


class StoreLocked(StoreError):
    """Another process (or another `Store` of this one) holds the store."""

    code = "store_locked"

    def __init__(self, path: PurePath, holder: str) -> None:
        """Take the folder and what the holder wrote into the lock file."""
        super().__init__(path, holder)
        self.path, self.holder = path, holder

    def __str__(self) -> str:
        return f"the store {self.path} is in use by {self.holder}"

    @property
    def hint(self) -> str:
        """Who to ask instead."""
        return "stop that process first: a store has one at a time"


class StoreNotWritable(StoreError):
    """A write failed before anything could change; what was served is served on."""

    code = "store_not_writable"

    def __init__(self, path: PurePath, why: str) -> None:
        """Take the file or folder that could not be written, and the system's reason."""
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"can't write {self.path}: {self.why}"

    @property
    def hint(self) -> str:
        """What usually stands behind it."""
        return "check free space, that the file system isn't mounted read-only, and who owns the folder"


class StoreGone(StoreNotWritable):
    """The folder that is held was removed, or another was put in its place; what was served is served on."""

    code = "store_gone"

    def __init__(self, path: PurePath) -> None:
        """Take the store's folder."""
        super().__init__(path, "it was removed, or replaced by another one, while it was in use")

    def __str__(self) -> str:
        return f"the store {self.path} was removed, or replaced by another one, while it was in use"

    @property
    def hint(self) -> str:
        """How to get the one or the other."""
        return "put the same folder back; to go on with what is there now, restart the service"


class StoreCorrupt(StoreError):
    """A file of the store can't be what we once wrote."""

    code = "store_corrupt"

    def __init__(self, path: PurePath, why: str) -> None:
        """Take the file and what is wrong with it."""
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path} is damaged: {self.why}"

    @property
    def hint(self) -> str:
        """How to get a whole one."""
        return "restore it from a backup, or import the certificate again"


class StoreExhausted(StoreError):
    """A file can't be read now, for want of descriptors or memory; it may well be whole."""

    code = "store_exhausted"

    def __init__(self, path: PurePath, why: str) -> None:
        """Take the file or folder and the system's reason."""
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path} can't be read now: {self.why}"

    @property
    def hint(self) -> str:
        """What to give."""
        return "raise the limit of open files (LimitNOFILE=), or give this service more memory"


class StoreNewer(StoreError):
    """A newer version of this software wrote the store (firmware went back): it is served, never changed."""

    code = "store_newer"

    def __init__(self, path: PurePath, found: int, known: int) -> None:
        """Take the folder, the format found in it, and the newest format that we know."""
        super().__init__(path, found, known)
        self.path, self.found, self.known = path, found, known

    def __str__(self) -> str:
        return f"the store {self.path} has format {self.found}; this version writes only format {self.known}"

    @property
    def hint(self) -> str:
        """The only safe way on."""
        return "update this software; until then the store is served as it is, and can't be changed"


class BackupUnreadable(StoreError):
    """A file can't be opened as a backup, or holds what can't be one."""

    code = "backup_unreadable"

    def __init__(self, why: str) -> None:
        """Take what is the matter with it."""
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the backup can't be read: {self.why}"

    @property
    def hint(self) -> str:
        """What to try."""
        return "try its passphrase again, or another copy of the file; nothing has changed"


class RandomNotReady(StoreError):
    """A key is wanted before the kernel can make one that nobody guesses."""

    code = "random_not_ready"

    def __str__(self) -> str:
        return "the kernel's random generator is not ready: no key is made before it is"

    @property
    def hint(self) -> str:
        """What to do, and what lacks."""
        return "try again in some seconds; a device that stays so has no source of randomness"


class AnswersUngiven(StoreError):
    """Not everybody whom an ACME authority may ask gives the answers that it looks for."""

    code = "acme_answers_ungiven"

    def __init__(self, why: str) -> None:
        """Take one lower-case phrase."""
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return self.why

    @property
    def hint(self) -> str:
        """Say what it comes from."""
        return "it is tried again; if it stays so, restart the proxy"


class NotFound(StoreError):
    """There is no such bundle, receipt or generation."""

    code = "not_found"

    def __init__(self, what: str, id: str) -> None:  # noqa: A002  the field's name in the interface
        """Take the kind of thing that was asked for, and its id."""
        super().__init__(what, id)
        self.what, self.id = what, id

    def __str__(self) -> str:
        return f"there is no {self.what} {self.id}".rstrip()

    @property
    def hint(self) -> str:
        """Where it may have gone."""
        if self.what == "device authority":
            return "it is made where the configuration says so: device_ca = true below [identity]"
        if self.what == "ACME enrolment":
            return "say of whom, for which name (--directory URL --name HOST): tlsproxy acme enable --help"
        if self.what == "trust set":
            return "see which there are: tlsproxy trust list"
        if self.what == "request":
            return "it may be answered or expired; see which wait: tlsproxy certs csr list"
        return "it may have been pruned; see what there is: tlsproxy certs history"


class Refusal(Exception):
    """A candidate must not be served; `findings` say why, and hold at least one error."""

    def __init__(self, *findings: Finding) -> None:
        """Take the findings in the order in which they should be told."""
        super().__init__(*findings)
        assert any(f.severity is Severity.ERROR for f in findings), "a refusal without an error"
        self.findings = findings

    def __str__(self) -> str:
        return "; ".join(f.words for f in self.findings if f.severity is Severity.ERROR)
