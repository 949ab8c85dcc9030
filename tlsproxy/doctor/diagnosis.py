"""A diagnosis: what was looked at, what it is, what was found, and what follows: one value.

Pure. `to_json` is for programs, `lines` for people. Findings come worst first, in the words that every other
part of us has for them. Refuses to know how anything was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from certstore import Finding, Severity
from tlsproxy.doctor.anatomy import Anatomy

__all__ = ["Diagnosis", "counted"]

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What came of one look. verdict: one line without the counts; facts: what else is worth knowing."""

    subject: str
    verdict: str
    is_well: bool
    findings: tuple[Finding, ...]
    anatomy: Anatomy | None = None
    facts: Sequence[tuple[str, str]] = field(default=())

    def to_json(self) -> dict[str, object]:
        """Give what programs are shown."""
        return {
            "subject": self.subject,
            "ok": self.is_well,
            "verdict": self.verdict,
            "facts": dict(self.facts),
            "certificate": None if self.anatomy is None else self.anatomy.to_json(),
            "findings": [
                {"code": f.code, "severity": str(f.severity), "words": f.words, "hint": f.hint}
                for f in ordered(self.findings)
            ],
        }

    def lines(self) -> Iterator[tuple[str, Severity | None]]:
        """Give what people are shown, line by line, with the severity that a line is about."""
        for label, words in self.facts:
            yield f"{label:12} {words}", None
        for line in () if self.anatomy is None else self.anatomy.lines():
            yield line, None
        for finding in ordered(self.findings):
            yield f"{finding.severity}: {finding.words} [{finding.code}]", finding.severity
            if finding.hint:
                yield f"    hint: {finding.hint}", None
        told = counted(self.findings)
        severity = None if self.is_well else Severity.ERROR
        yield f"verdict: {self.verdict}{f' ({told})' if told else ''}", severity


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Give each finding once, the worst first."""
    return sorted(dict.fromkeys(findings), key=lambda finding: _ORDER[finding.severity])


def counted(findings: Sequence[Finding]) -> str:
    """Count findings by severity, in words; "" for none."""
    kinds = [finding.severity for finding in dict.fromkeys(findings)]
    counts = [(kinds.count(severity), severity) for severity in _ORDER]
    return ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for count, severity in counts if count)
