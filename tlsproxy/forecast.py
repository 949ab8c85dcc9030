"""The forecast: what a certificate would change for the clients that were here, said before it is served.

Promises: `forecast` is pure, warns only of what was counted and would get worse, and refuses nothing: the
examination that it is added to decides as it would without. Refuses to know who counts (workers/, whose sums
are handed in), and what is good (checks do).

    who can't use such a key      ClientHellos by kind of key           clients_without_key
    who asks for other names      names by ClientHellos                 names_still_used
    who is kept out for good      names whose responses said HSTS       hsts_keeps_out, hsts_in_force

Theory. Nothing is lost by a name that somebody else's certificate has, nor by one that nobody's covered: so a
name counts that a certificate of the same source covers, which the new one overlaps, and takes the place of
in its holder's mind. Its row stays with the old certificate, until that ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from certstore import (
    Bundle,
    Candidate,
    Circumstances,
    Content,
    Examination,
    Examiner,
    Finding,
    KnownKey,
    Material,
    Meta,
    Source,
    Store,
    StoreError,
    covers,
    found,
)
from tlsproxy import policy_forecast as policy
from tlsproxy.observe.clientele import Clientele
from tlsproxy.observe.metrics import Sums

__all__ = ["Forecasting", "Seen", "forecast", "seen_by"]

_USES: Final = {"RSA": {"rsa", "both"}, "EC": {"ec", "both"}}
# What makes browsers warn although the device knows it before. Of an authority that isn't on a list
# (`unknown_root`) nobody here can say whether the clients know it: that is the note's to tell.
_WARNED_OF: Final = frozenset(
    {
        *("self_signed", "incomplete_chain", "issuer_mismatch", "issuer_expired", "weak_signature"),
        *("no_alternative_names", "key_refused_by_browsers", "key_refused_by_chromium", "must_staple"),
        *("expired_doubtful", "not_yet_valid", "not_yet_valid_doubtful", "lifetime_too_long"),
        *("public_lifetime_too_long", "no_timestamps", "name_constraint_violated", "path_too_long"),
    }
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Who was here, and what they were served.

    default_key: the kind of key that the default row has, "" where it has both. beside: the certificates that
    the candidate's source has.
    """

    hellos: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    clientele: Clientele = field(default_factory=Clientele)
    default_key: str = ""
    beside: tuple[Meta, ...] = ()


def seen_by(store: Store, sums: Sums, source: Source) -> Seen:
    """Tell who was here by what was counted, for a candidate of that source; memory only."""
    active = store.active
    default = _meta(store, active.default) if active is not None and active.default is not None else None
    is_pair = active is not None and active.default_beside is not None
    held = (_meta(store, id_) for slot in store.slots() if slot.source is source for id_ in slot.bundles)
    return Seen(
        hellos={key[1:]: count for key, count in sums.counted() if key[0] == "tlsproxy_hellos_total"},
        clientele=sums.clientele,
        default_key=default.key_type if default is not None and not is_pair else "",
        beside=tuple(meta for meta in held if meta is not None),
    )


def _meta(store: Store, bundle: str) -> Meta | None:
    try:
        return store.meta(bundle)
    except StoreError:
        return None


def forecast(meta: Meta, told: tuple[Finding, ...], seen: Seen) -> tuple[Finding, ...]:
    """Foretell what a certificate changes; `told`: what was found about it."""
    return (*_by_key(meta.key_type, seen), *_by_name(meta, seen), *_by_hsts(meta, told, seen.clientele))


def _by_key(key_type: str, seen: Seen) -> Iterator[Finding]:
    usable = _USES.get(key_type)
    # the gate tells of keys that browsers don't take; and who can't use what is served loses nothing
    if usable is None or key_type == seen.default_key:
        return
    kept_out = sum(
        count for (_, keys, _), count in seen.hellos.items() if keys != "neither" and keys not in usable
    )
    if kept_out:
        yield found("clients_without_key", count=int(kept_out), all=_all(seen), key=key_type)


def _by_name(meta: Meta, seen: Seen) -> Iterator[Finding]:
    new = meta.facts.names
    for old in seen.beside:
        if not _overlap(old.facts.names, new):
            continue
        asked = {
            name: count
            for name, count in seen.clientele.asked.items()
            if _covered(name, old.facts.names) and not _covered(name, new)
        }
        if asked:
            names = _some(sorted(asked, key=lambda name: (-asked[name], name)))
            count, until = int(sum(asked.values())), f"{old.facts.not_after:%Y-%m-%d}"
            yield found("names_still_used", names=names, count=count, all=_all(seen), not_after=until)


def _by_hsts(meta: Meta, told: tuple[Finding, ...], clientele: Clientele) -> Iterator[Finding]:
    known = {*clientele.strict, *clientele.asked}
    names = sorted(name for name in known if clientele.is_strict(name) and _covered(name, meta.facts.names))
    if not names:
        return
    reasons = dict.fromkeys(one.code for one in told if one.code in _WARNED_OF)
    if reasons:
        yield found("hsts_keeps_out", names=_some(names), reasons=", ".join(reasons))
    else:
        yield found("hsts_in_force", names=_some(names))


def _covered(name: str, patterns: tuple[str, ...]) -> bool:
    return any(covers(pattern, name) for pattern in patterns)


def _overlap(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    return any(_covered(name, theirs) for name in ours) or any(_covered(name, ours) for name in theirs)


def _some(names: list[str]) -> str:
    more = len(names) - policy.NAMES_TOLD
    return ", ".join(names[: policy.NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")


def _all(seen: Seen) -> int:
    return int(sum(seen.hellos.values()))


@dataclass(frozen=True, slots=True)
class Forecasting:
    """certstore's Examiner: another one, whose judgement gets the forecast added."""

    examiner: Examiner
    seen: Callable[[], Seen]
    """Tells who was here, when a candidate is judged; in the thread that proposes."""

    @contextmanager
    def examine(self, candidate: Candidate | Bundle, known_key: KnownKey) -> Iterator[Examination]:
        """Begin an examination; see certstore.Examiner."""
        with self.examiner.examine(candidate, known_key) as examination:
            yield _Foreseen(examination, self.seen)

    def read(self, name: str, content: bytes) -> Content:
        """Decode one file; see certstore.Examiner."""
        return self.examiner.read(name, content)

    def read_material(self, files: Iterable[tuple[str, bytes]]) -> Material:
        """Decode what is to be a trust set; see certstore.Examiner."""
        return self.examiner.read_material(files)


@dataclass(frozen=True, slots=True)
class _Foreseen:
    """certstore's Examination."""

    examination: Examination
    seen: Callable[[], Seen]

    @property
    def bundle(self) -> Bundle:
        return self.examination.bundle

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.examination.findings

    def judge(self, around: Circumstances) -> tuple[Finding, ...]:
        judged = self.examination.judge(around)
        told = (*self.findings, *judged)
        return (*judged, *forecast(Meta.of(self.bundle), told, self.seen()))
