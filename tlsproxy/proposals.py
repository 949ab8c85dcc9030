"""Names to propose: what may be asked of an authority, judged by what the network said of us.

Pure. A name counts as confirmed where a forward lookup gives one of our addresses back: anybody who runs a
reverse zone can write any name into it. Proposed is never used: a person picks. Refuses to know who was
asked, and how (discovery.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from certstore import is_address, normalise
from tlsproxy import policy_requests as policy

__all__ = ["Proposals", "Reply", "judge", "search_domains", "worth_asking"]

Reply = tuple[str, ...] | None
"""What a resolver said; () where it knows nothing, None where it didn't answer."""

# What means another machine, or none, wherever it is asked: RFC 6761, RFC 3172, and what installers fill in.
_NOBODYS = frozenset({"localhost", "localdomain", "invalid", "arpa"})


@dataclass(frozen=True, slots=True)
class Proposals:
    """Names with the reason for each; `doubtful` ones, and addresses nobody told about, are not proposed."""

    proposed: Mapping[str, str] = field(default_factory=dict)
    doubtful: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Give what programs are shown."""
        both = (("proposed", self.proposed), ("not_proposed", self.doubtful))
        return {key: [{"name": name, "why": why} for name, why in told.items()] for key, told in both}


def search_domains(resolv_conf: str) -> tuple[str, ...]:
    """Read the search list of a resolv.conf(5): the last `search` or `domain` line counts."""
    found: tuple[str, ...] = ()
    for line in resolv_conf.splitlines():
        word, *rest = line.split() or [""]
        if word in {"search", "domain"}:
            found = tuple(rest)
    usable = (name for name in map(_worthy, found) if name is not None)
    return tuple(dict.fromkeys(usable))[: policy.DOMAINS_TAKEN]


def worth_asking(reverse: Mapping[str, Reply], host: str, domains: Sequence[str]) -> tuple[str, ...]:
    """Give the names to look up: those of our addresses, then the host's own; a bounded number."""
    names = [name for reply in reverse.values() for name in reply or ()]
    names += _own(host, domains)
    usable = (name for name in map(_worthy, names) if name is not None and _is_whole(name))
    return tuple(dict.fromkeys(usable))[: policy.NAMES_ASKED]


def judge(
    reverse: Mapping[str, Reply], forward: Mapping[str, Reply], host: str, domains: Sequence[str]
) -> Proposals:
    """Say which names lead back to us, and what is doubtful about the others.

    reverse: our addresses, with the names that each has; forward: names, with the addresses that each has.
    """
    own = {_worthy(name) for name in _own(host, domains)}
    proposed: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    for name, reply in forward.items():
        ours = [address for address in reply or () if address in reverse]
        called = [address for address, names in reverse.items() if name in map(_worthy, names or ())]
        who = f"{', '.join(called)} is called so" if called else "this machine calls itself so"
        if ours:
            proposed[name] = f"{who}, and the name leads to {', '.join(ours)}{_CAUTION * (name in own)}"
        elif reply is None:
            doubtful[name] = f"{who}, but nobody answered in time where the name leads"
        elif not reply:
            doubtful[name] = f"{who}, but the name leads nowhere"
        else:
            doubtful[name] = f"{who}, but the name leads to {', '.join(reply[:3])}, which is not this device"
    for address, names in reverse.items():
        if names is None:
            doubtful[address] = "nobody answered in time what it is called"
    return Proposals(proposed, doubtful)


_CAUTION = " (its own name: see that other machines know it too)"


def _own(host: str, domains: Sequence[str]) -> Iterator[str]:
    """Give what this host may be called: whole, in each search domain, and by multicast DNS (RFC 6762)."""
    label = host.partition(".")[0]
    if label and label != "localhost":
        yield host
        for domain in (*domains, "local"):
            yield f"{label}.{domain}"


def _worthy(name: str) -> str | None:
    """Give a name its one form, where it could be anybody's: no address, no localhost, no wildcard."""
    try:
        plain = normalise(name)
    except ValueError:
        return None
    is_nobodys = is_address(plain) or "*" in plain or plain.rpartition(".")[2] in _NOBODYS
    return None if is_nobodys or plain.startswith("localhost.") else plain


def _is_whole(name: str) -> bool:
    """Say whether it is more than a bare label, which no public authority signs and any network redefines."""
    return "." in name
