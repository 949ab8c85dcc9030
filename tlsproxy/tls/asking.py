"""Contexts that ask their clients for a certificate: for one generation, beside those that don't.

Promises: a name's rule decides by the hello, before TLS starts; a context asks by one rule and one trust set
for its whole life, so that another set, or another rule, is another context. What can't be made lets nobody
in, and no other context takes its place. Contexts whose rule, set and bundle are the same live on through
generations. Refuses to know how contexts are made (contexts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from certstore import TrustSet
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.tls.clientrules import Rules

__all__ = ["Asking", "Asks"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asking:
    """What a context asks for: by `rule`; `trust` verifies what comes. Without authorities, nobody is."""

    rule: ClientAuth
    trust: TrustSet

    @property
    def is_required(self) -> bool:
        """Whether who shows no certificate is refused."""
        return self.rule.mode == "required"


class Asks(Generic[T]):
    """Gives, for one generation, the entry that asks. Read on the event loop; one thread makes it."""

    def __init__(
        self,
        rules: Rules,
        trust: Mapping[str, tuple[str, TrustSet]],
        make: Callable[[str, Asking], T],
        before: Asks[T] | None = None,
    ) -> None:
        """Take the sets by their names, each with its id, and who makes an entry for a bundle."""
        self._rules, self._make = rules, make
        self._sets = {rule: trust.get(rule.trust, ("", TrustSet(()))) for rule in rules.every if rule.asks}
        self._entries: dict[tuple[str, ClientAuth, str], T] = {}
        if before is not None:
            wanted = {(rule, id_) for rule, (id_, _) in self._sets.items()}
            # a copy: meanwhile a hello on the event loop may add one to it
            known = dict(before._entries)  # noqa: SLF001  of our own kind
            self._entries = {key: one for key, one in known.items() if key[1:] in wanted}

    def known(self, id_: str) -> TrustSet | None:
        """Give a set by its id, where one of the rules has it: to read a large one anew would double it."""
        return next((held for known, held in self._sets.values() if known == id_), None)

    def rule_for(self, name: str | None, port: int) -> ClientAuth | None:
        """Give the rule by which a name asks; None where it doesn't."""
        return self._rules.choose(name, port)

    def entry(self, bundle: str, rule: ClientAuth) -> T:
        """Give the entry that serves a bundle by a rule."""
        id_, held = self._sets[rule]
        key = bundle, rule, id_
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries.setdefault(key, self._make(bundle, Asking(rule, held)))
        return entry

    def has(self, bundle: str, rule: ClientAuth) -> bool:
        """Whether that entry is there already."""
        return (bundle, rule, self._sets[rule][0]) in self._entries

    def keep_only(self, bundles: frozenset[str]) -> None:
        """Let go of the entries of other bundles: they are served no more."""
        self._entries = {key: one for key, one in self._entries.items() if key[0] in bundles}

    def entries(self) -> Iterator[T]:
        """Give all that there are."""
        return iter(tuple(self._entries.values()))
