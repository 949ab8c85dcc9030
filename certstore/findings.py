"""Findings: what a check has to say about a candidate, in words that a customer understands.

Promises: each finding has a stable code (snake_case, one severity for ever), one line of words, and a hint
that says what to do. All of them stand in one table (catalogue.py). Facts that come from strangers (a file
name, a subject) are made printable and cut first.
Refuses to know: who found it, and how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from certstore.catalogue import CATALOGUE, Severity

__all__ = ["CATALOGUE", "Finding", "Severity", "found", "genuine"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. `words` is one lower-case line; `hint` says what to do."""

    code: str
    severity: Severity
    words: str
    hint: str

    @property
    def is_error(self) -> bool:
        """Whether this alone refuses a candidate."""
        return self.severity is Severity.ERROR


# The longest fact that is quoted: a whole host name (253) fits; a subject with a poem in it doesn't.
LONGEST_FACT: Final = 260


def found(code: str, **facts: object) -> Finding:
    """Make the finding with this code; KeyError when the code or one of its facts is unknown: our mistake."""
    entry = CATALOGUE[code]
    plain = {name: _plain(fact) for name, fact in facts.items()}
    return Finding(code, entry.severity, entry.words.format(**plain), entry.hint.format(**plain))


def genuine(finding: Finding) -> Finding:
    """Give back a finding that another process made, if this one could have made it; else ValueError.

    Who looks into hostile files may have been taken over by one: it must not invent codes, soften an error,
    or write to a terminal.
    """
    entry = CATALOGUE.get(finding.code)
    if entry is None or entry.severity is not finding.severity:
        raise ValueError("no such finding")
    for text, template in ((finding.words, entry.words), (finding.hint, entry.hint)):
        if not text.isprintable() or len(text) > len(template) + template.count("{") * LONGEST_FACT:
            raise ValueError("no words of ours")
    return finding


def _plain(fact: object) -> str:
    """Make a stranger's text fit for one line of a terminal or a log: printable, no longer than a name."""
    text = str(fact)
    if len(text) > LONGEST_FACT:
        text = text[: LONGEST_FACT - 3] + "..."
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
