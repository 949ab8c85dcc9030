"""The examination of a candidate: what its files hold, and whether clients would take it. The store's seam.

Promises: whatever is in the files, an examination ends with findings or a `Refusal`; and the store that asks
for one can't tell where it was made. `InProcess` makes it here, for a command and for the store as a library;
a proxy has it made by a process that hostile files may ruin.
Refuses to know: slots, the disk, and what becomes of what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

from certstore.assembly import assemble
from certstore.bundle import Bundle, PrivateKey
from certstore.checks import check
from certstore.circumstances import Circumstances
from certstore.contents import Content, read_content
from certstore.decode import Candidate
from certstore.errors import Refusal
from certstore.findings import Finding, found
from certstore.gates import Gate, NullGate
from certstore.reference import NOTHING, Reference
from certstore.trustchecks import Files, Material, read_material

__all__ = ["Examination", "Examiner", "InProcess", "KnownKey"]

KnownKey: TypeAlias = Callable[[str], PrivateKey | None]
"""Gives a key that is already here by its SPKI hash, or None."""


class Examination(Protocol):
    """One candidate, put together to a bundle and yet to be judged."""

    @property
    def bundle(self) -> Bundle:
        """The bundle that the files make."""
        ...

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found on the way there: warnings and notes."""
        ...

    def judge(self, around: Circumstances) -> tuple[Finding, ...]:
        """Check the bundle and try it out; gives what was found, errors excepted.

        What the examiner knows of the world (lists, names that clients use) it adds by itself.

        Raises Refusal, and nothing else.
        """
        ...


class Examiner(Protocol):
    """Who looks into files that strangers made. Any thread may ask; some ms of CPU, or much more."""

    def examine(
        self, candidate: Candidate | Bundle, known_key: KnownKey
    ) -> AbstractContextManager[Examination]:
        """Begin an examination, over at the end of the `with`. A bundle is ours: it is only to be judged.

        Raises Refusal when the files make no bundle, and nothing else that is the candidate's fault.
        """
        ...

    def read(self, name: str, content: bytes) -> Content:
        """Say what one file holds, for whoever looks for files that belong together. Never raises for it."""
        ...

    def read_material(self, files: Files) -> Material:
        """Say which authorities and revocation lists are in files. Raises Refusal, and nothing else."""
        ...


class InProcess:
    """Examines where it is asked; the bundle is tried out by `gate`, without one by none, which is noted."""

    def __init__(self, gate: Gate | None = None, reference: Reference = NOTHING) -> None:
        """Take who tries bundles out, and what certificates are looked up in."""
        self._gate, self._reference = gate or NullGate(), reference

    @contextmanager
    def examine(self, candidate: Candidate | Bundle, known_key: KnownKey) -> Iterator[Examination]:
        """Put a candidate together; see `Examiner`."""
        if isinstance(candidate, Bundle):
            yield _Examination(candidate, (), self._gate, self._reference)
        else:
            yield _Examination(*assemble(candidate, known_key), self._gate, self._reference)

    def read(self, name: str, content: bytes) -> Content:
        """Decode one file; see `Examiner`."""
        return read_content(name, content)

    def read_material(self, files: Files) -> Material:
        """Decode what is to be a trust set; see `Examiner`."""
        return read_material(files)


class _Examination:
    """What `InProcess` gives."""

    __slots__ = ("_gate", "_reference", "bundle", "findings")

    def __init__(
        self, bundle: Bundle, findings: tuple[Finding, ...], gate: Gate, reference: Reference
    ) -> None:
        self.bundle, self.findings, self._gate, self._reference = bundle, findings, gate, reference

    def judge(self, around: Circumstances) -> tuple[Finding, ...]:
        """Check, then try out: no handshake is made with what can't be served anyway."""
        bundle = self.bundle
        findings = check(bundle, self._reference.surround(bundle.leaf, bundle.chain, around))
        _refuse_errors(findings)
        findings += self._tried()
        _refuse_errors(findings)
        return findings

    def _tried(self) -> tuple[Finding, ...]:
        try:
            return self._gate.try_out(self.bundle)
        except Exception as error:  # noqa: BLE001  the border: a gate that breaks has not let the bundle through
            why = str(error).partition("\n")[0] or type(error).__name__
            return (found("gate_failed", why=why),)


def _refuse_errors(findings: tuple[Finding, ...]) -> None:
    if any(finding.is_error for finding in findings):
        raise Refusal(*findings)
