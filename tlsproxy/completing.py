"""Completing: a candidate without its issuer's certificate gets it, from here or from where the leaf says.

    leaf alone  ->  which authority signed it?  ->  one that is here      ->  examined again, with it
                                                ->  fetched from its AIA

Promises: only where it is configured (`aia`), within policy_fetching's limits, and never by the examiner,
which has no network, or a worker. What was fetched is decoded by the examiner, as if a file had held it; it
counts only where its key proves to have signed what came before it, and it becomes part of the candidate,
which is judged as any other. Whatever goes wrong, the candidate is judged as it came, and a finding says why.
Refuses to know how something is fetched (fetching/), and what is good.

Theory. A certificate of an authority needs no secrecy and no trust in the server: a signature proves that it
is the right one, and whoever answers instead can only keep us from it. What is here is tried first: a
renewal comes from the same authority, and a chain that was fetched once must not fall off when the server is
down and the same file comes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

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
    Refusal,
    Store,
    StoreError,
    found,
    is_issued_by,
    issuer_among,
    issuer_in,
    issuer_urls,
    subject_words,
)
from tlsproxy import policy_fetching as policy
from tlsproxy.config.values import ChecksConfig
from tlsproxy.fetching import FetchError, Limits, Network, fetch

__all__ = ["Completing", "completing"]

Fetch = Callable[[str, float], bytes]


def completing(checks: ChecksConfig, store: Store, examiner: Examiner) -> Examiner:
    """Give an examiner that completes chains, where that is configured; else the same."""
    if not checks.aia:
        return examiner
    return Completing(examiner, lambda url, seconds: _fetch(url, seconds, checks.aia_allow), _held_by(store))


def _fetch(url: str, seconds: float, allow: Sequence[Network]) -> bytes:
    """Fetch in this thread, in a loop of its own: a change is never cut in two by a cancellation."""
    return trio.run(fetch, url, Limits(policy.ISSUER_BYTES, seconds), allow)


def _held_by(store: Store) -> Callable[[], Iterator[x509.Certificate]]:
    def held() -> Iterator[x509.Certificate]:
        for id_ in dict.fromkeys(id_ for slot in store.slots() for id_ in slot.bundles):
            try:
                yield from store.bundle(id_).chain
            except StoreError:  # damaged: whoever looks after the store tells
                continue

    return held


@dataclass(frozen=True, slots=True)
class Completing:
    """certstore's Examiner: another one, who is handed what a candidate lacks.

    fetch: gets what is at a URL, within so many seconds; raises FetchError. held: authorities of chains that
    are here.
    """

    examiner: Examiner
    fetch: Fetch
    held: Callable[[], Iterable[x509.Certificate]] = tuple

    @contextmanager
    def examine(self, candidate: Candidate | Bundle, known_key: KnownKey) -> Iterator[Examination]:
        """Begin an examination; see certstore.Examiner."""
        with ExitStack() as stack:
            examination = stack.enter_context(self.examiner.examine(candidate, known_key))
            if isinstance(candidate, Bundle) or not _lacks_issuer(examination):
                yield examination
                return
            leaf = examination.bundle.leaf
            stack.close()  # one is heard at a time, and files that are fetched are to be looked into
            search = _Search(self)
            complete, told = replace(candidate, files=(*candidate.files, *search.above(leaf))), search.told
            try:
                examination = stack.enter_context(self.examiner.examine(complete, known_key))
            except Refusal:  # there is no room for it beside what came
                examination, told = stack.enter_context(self.examiner.examine(candidate, known_key)), []
            yield _Completed(examination, tuple(told))

    def read(self, name: str, content: bytes) -> Content:
        """Decode one file; see certstore.Examiner."""
        return self.examiner.read(name, content)

    def read_material(self, files: Iterable[tuple[str, bytes]]) -> Material:
        """Decode what is to be a trust set; see certstore.Examiner."""
        return self.examiner.read_material(files)


def _lacks_issuer(examination: Examination) -> bool:
    return any(finding.code == "incomplete_chain" for finding in examination.findings)


@dataclass(slots=True)
class _Search:
    """One candidate's way up, to a root or as far as there is something; and what is to be told of it."""

    by: Completing
    told: list[Finding] = field(default_factory=list)
    ends_at: float = field(default_factory=lambda: time.monotonic() + policy.ISSUERS_S)
    fetches_left: int = policy.ISSUERS_FETCHED

    def above(self, leaf: x509.Certificate) -> Iterator[tuple[str, bytes]]:
        """Give the certificates above the leaf as files, its issuer first."""
        child = leaf
        for level in range(policy.ISSUERS_ABOVE):
            issuer = self._issuer_of(child, is_missed=level == 0)
            if issuer is None:
                return
            yield f"issuer-{level + 1}.pem", issuer.public_bytes(Encoding.PEM)
            if is_issued_by(issuer, issuer):
                return
            child = issuer

    def _issuer_of(self, child: x509.Certificate, *, is_missed: bool) -> x509.Certificate | None:
        """Find it here or elsewhere; only what is missed for sure is worth a word when it can't be had."""
        issuer = issuer_among(child, self.by.held())
        if issuer is not None:
            self._tell("issuer_kept", issuer)
            return issuer
        failures: list[Finding] = []
        for url in issuer_urls(child)[: policy.PLACES_TRIED]:
            try:
                issuer = self._fetched(child, url)
            except FetchError as error:
                failures.append(found("issuer_not_fetched", url=url, why=error.why))
            else:
                self._tell("issuer_fetched", issuer, url=url)
                return issuer
        if is_missed:
            self.told += failures
        return None

    def _tell(self, code: str, issuer: x509.Certificate, **facts: object) -> None:
        if not is_issued_by(issuer, issuer):  # a root is not sent, so it wasn't missing
            self.told.append(found(code, subject=subject_words(issuer), **facts))

    def _fetched(self, child: x509.Certificate, url: str) -> x509.Certificate:
        """Fetch a file that holds the issuer's certificate. Raises FetchError."""
        seconds = self.ends_at - time.monotonic()
        if not self.fetches_left or seconds <= 0:
            raise FetchError("the others have used up what may be spent on it")
        self.fetches_left -= 1
        content = self.by.examiner.read("its answer", self.by.fetch(url, seconds))
        if content.errors:
            raise FetchError(content.errors[0].words)
        issuer = issuer_in(content, child)
        if issuer is None:
            raise FetchError("what is there did not sign the certificate")
        return issuer


@dataclass(frozen=True, slots=True)
class _Completed:
    """certstore's Examination."""

    examination: Examination
    told: tuple[Finding, ...]

    @property
    def bundle(self) -> Bundle:
        return self.examination.bundle

    @property
    def findings(self) -> tuple[Finding, ...]:
        came = (one for one in self.examination.findings if one.code != "issuer_known_at" or not self.told)
        return (*came, *self.told)

    def judge(self, around: Circumstances) -> tuple[Finding, ...]:
        return self.examination.judge(around)
