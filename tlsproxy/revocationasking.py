"""One question to an authority: whether a certificate of ours is revoked; and its answer, judged.

Promises: the places that the certificate names are asked one after the other, within policy_revocation's
limits; what comes is looked into by the examiner alone, and what comes of it is a judgement, or FetchError
with why there is none. Refuses to know when it is time to ask, and what follows.

An issuer whose certificate isn't in the bundle (a root, or a chain that lacks something) is fetched from
where the leaf says; it counts where its key proves to have signed the leaf.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certstore import Content, Finding, Judgement, Way, issuer_in, largest_answer, question_for
from tlsproxy import policy_fetching
from tlsproxy import policy_revocation as policy
from tlsproxy.fetching import FetchError, Limits, Network, Post, fetch
from tlsproxy.revocationwatch import Watched
from tlsproxy.threads import in_thread

__all__ = ["Answered", "Asker", "Weigher"]

_REQUEST = "application/ocsp-request"  # RFC 6960 appendix C.1


class Weigher(Protocol):
    """Who looks into what strangers answer; any thread may ask."""

    def judge_answer(
        self, way: Way, answer: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime
    ) -> Judgement | Finding:
        """Say what an answer says, or why it counts for nothing."""
        ...

    def read(self, name: str, content: bytes) -> Content:
        """Say what a file holds."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What came, and what it says."""

    way: Way
    answer: bytes
    judgement: Judgement


@dataclass(slots=True)
class Asker:
    """Asks; on the event loop. `allow`: networks that may be asked although they aren't public."""

    weigher: Weigher
    clock: Callable[[], datetime]
    allow: tuple[Network, ...]
    _issuers: dict[str, x509.Certificate] = field(default_factory=dict)

    async def ask(self, one: Watched) -> Answered:
        """Ask for an answer that counts. Raises FetchError, or ThreadError."""
        issuer, why = await self._issuer_of(one), ""
        for way, url in one.places[: policy.PLACES_TRIED]:
            try:
                return await self._ask_at(way, url, one.leaf, issuer)
            except FetchError as error:
                why = f"{url}: {error.why}"
        raise FetchError(why)

    async def _ask_at(self, way: Way, url: str, leaf: x509.Certificate, issuer: x509.Certificate) -> Answered:
        try:
            question = question_for(way, leaf, issuer)
        except (ValueError, UnsupportedAlgorithm) as error:  # SHA-1 may be forbidden by the system's OpenSSL
            raise FetchError(f"the question can't be made: {error}") from None
        post = Post(question, _REQUEST) if question is not None else None
        answer = await fetch(url, Limits(largest_answer(way), policy.ASK_S), self.allow, post)
        judge = partial(self.weigher.judge_answer, way, answer, leaf, issuer, self.clock())
        found = await in_thread(judge)
        if isinstance(found, Finding):
            raise FetchError(found.words)
        return Answered(way, answer, found)

    async def _issuer_of(self, one: Watched) -> x509.Certificate:
        known = one.issuer or self._issuers.get(one.id)
        if known is not None:
            return known
        why = "the certificate of its issuer isn't here"
        for url in one.issuer_at[: policy_fetching.PLACES_TRIED]:
            try:
                data = await fetch(url, Limits(policy_fetching.ISSUER_BYTES, policy.ASK_S), self.allow)
            except FetchError as error:
                why = f"the certificate of its issuer isn't here, nor at {url}: {error.why}"
                continue
            content = await in_thread(partial(self.weigher.read, "its answer", data))
            issuer = await in_thread(partial(issuer_in, content, one.leaf))  # a signature check for each
            if issuer is not None:
                self._issuers = {**dict(list(self._issuers.items())[-policy.WATCHED :]), one.id: issuer}
                return issuer
        raise FetchError(why)
