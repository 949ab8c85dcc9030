"""What can go wrong with an authority: one error, that carries a finding and says when to try again.

Promises: no key, nonce, token or signature stands in it. `retry_at` is the authority's own word, clamped.
Refuses to know how often is tried (the keeper's), and how it is shown.
"""

from __future__ import annotations

from datetime import datetime

from certstore.findings import Finding, found

__all__ = ["AcmeError"]


class AcmeError(Exception):
    """An authority didn't give what was asked for; what is served isn't touched by it.

    retry_at: aware; the authority takes no earlier try (RFC 8555 section 6.6); None where it said nothing.
    is_lasting: another try fails the same way until somebody changes something (terms, names, DNS).
    kind: the authority's own word for it, such as "rateLimited" (RFC 8555 section 6.7), or "". why: what
    stands in the finding as its reason, where somebody may say it in other words, or "".
    """

    def __init__(
        self,
        finding: Finding,
        *,
        retry_at: datetime | None = None,
        is_lasting: bool = False,
        kind: str = "",
        why: str = "",
    ) -> None:
        """Take the finding; `of` makes it as well."""
        super().__init__(finding, retry_at, is_lasting, kind, why)
        self.finding, self.retry_at, self.is_lasting = finding, retry_at, is_lasting
        self.kind, self.why = kind, why

    @classmethod
    def of(cls, code: str, **facts: object) -> AcmeError:
        """Make one of a finding alone, that another try may mend."""
        return cls(found(code, **facts))

    @classmethod
    def lasting(cls, code: str, **facts: object) -> AcmeError:
        """Make one of a finding alone, that no other try mends."""
        return cls(found(code, **facts), is_lasting=True)

    @property
    def code(self) -> str:
        """The finding's code."""
        return self.finding.code

    @property
    def hint(self) -> str:
        """What somebody can do about it."""
        return self.finding.hint

    def __str__(self) -> str:
        return self.finding.words
