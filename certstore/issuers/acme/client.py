"""A conversation with one ACME authority: signed requests, nonces, Retry-After, problems (RFC 8555, 6).

Promises: each request has an end (time, size, tries); whatever an authority answers comes out as a `Reply` or
an AcmeError; no POST follows a redirect, and a signed request is sent to its own URL only. Refuses to know
accounts and orders. Not for two tasks at once.

What could go wrong, and why it is done so: a nonce may be refused at any time, and the refusal brings the
next (section 6.5), so that is tried again at once, but not for ever. What only reads is sent again after a
connection broke; what changes something isn't, since nobody knows whether it arrived: the next look at the
disk's record tells. Dates of an authority are measured by its own `Date`: the device's clock may be wrong.
"""

from __future__ import annotations

import re
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Self
from urllib.parse import urlsplit

import httpx2
import trio

from certstore.findings import found
from certstore.issuers.acme.causes import is_untrusted, why_of
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.jws import MEDIA_TYPE, Signer
from certstore.issuers.acme.messages import LARGEST, Directory, https
from certstore.issuers.acme.problems import Asked, Problem, error_of
from certstore.issuers.acme.surroundings import Surroundings
from certstore.issuers.acme.wishes import Server

__all__ = ["Client", "Reply", "retry_after", "transport_to"]

REQUEST_S: Final = 60.0
CONNECT_S: Final = 15.0
SILENCE_S: Final = 30.0
# A server that refuses every second nonce (pebble's default is one in twenty) refuses so many in a million.
MOST_NONCES: Final = 20
MOST_TRIES: Final = 3
MOST_REDIRECTS: Final = 3
_POOL: Final = 8
# The longest that an authority is believed: limits of public authorities are counted by the week.
LONGEST_WAIT: Final = timedelta(days=7)
_LINK: Final = re.compile(r'<([^<>]*)>\s*;[^,]*?\brel="?([\w-]+)"?')


@dataclass(frozen=True, slots=True)
class Reply:
    """What an authority answered, read whole. `retry_at` is aware."""

    status: int
    body: bytes
    location: str | None = None
    retry_at: datetime | None = None
    alternates: tuple[str, ...] = ()


class Client:
    """One authority. An async context manager; it owns its connections."""

    def __init__(self, server: Server, surroundings: Surroundings) -> None:
        """Take whom to talk to. Raises AcmeError for an address or roots that can't be used."""
        try:
            self._url = https(server.directory)
        except ValueError as error:
            raise AcmeError.lasting("acme_directory_unusable", url=server.directory, why=error) from None
        self.host = urlsplit(self._url).netloc
        self._surroundings, self._stack = surroundings, AsyncExitStack()
        make = surroundings.transport or transport_to
        self._http = httpx2.AsyncClient(
            transport=make(server),
            trust_env=False,
            timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_S),
            headers={"User-Agent": "tlsproxy", "Accept-Language": "en", "Accept-Encoding": "identity"},
        )
        self._nonces = deque[str](maxlen=_POOL)
        self._directory: Directory | None = None

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._http)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def directory(self) -> Directory:
        """Ask what it offers; once."""
        if self._directory is None:
            try:
                reply = await self.get(self._url)
                self._directory = Directory.read(reply.body)
            except ValueError as error:
                raise self._no_directory(error) from error
            except AcmeError as error:
                if error.code not in {"acme_refused", "acme_answer_strange"}:
                    raise
                raise self._no_directory(error.why, is_lasting=error.is_lasting) from error
        return self._directory

    async def get(self, url: str) -> Reply:
        """Read what needs no signature; a redirect is followed, to https only."""
        for _ in range(MOST_REDIRECTS):
            reply = await self._patiently("GET", url)
            if reply.status not in {301, 302, 303, 307, 308}:
                return self._good(reply, Asked(self.host))
            try:
                url = https(str(httpx2.URL(url).join(reply.location or "")))
            except (ValueError, httpx2.InvalidURL) as error:
                raise self.strange(error) from error
        raise self.strange("it redirects without end")

    async def read(self, url: str, signer: Signer) -> Reply:
        """Read what belongs to an account (POST-as-GET, section 6.3). Raises AcmeError."""
        return await self._post(url, None, signer, Asked(self.host))

    async def post(
        self, url: str, payload: Mapping[str, object], signer: Signer, asked: Asked | None = None
    ) -> Reply:
        """Ask for a change. Raises AcmeError; `asked` has what an error speaks of."""
        return await self._post(url, payload, signer, asked or Asked(self.host))

    def strange(self, why: object) -> AcmeError:
        """Make the error for an answer that can't be used."""
        return AcmeError(found("acme_answer_strange", host=self.host, why=why), why=str(why))

    def _no_directory(self, why: object, *, is_lasting: bool = False) -> AcmeError:
        """Make the error for an address where no authority's directory is, which often was mistyped."""
        return AcmeError(found("acme_directory_missing", url=self._url, why=why), is_lasting=is_lasting)

    async def _post(
        self, url: str, payload: Mapping[str, object] | None, signer: Signer, asked: Asked
    ) -> Reply:
        problem = Problem("badNonce", "no nonce is good enough for it")
        for _ in range(MOST_NONCES):
            body = signer.sign(payload, url, await self._nonce())
            reply = await self._patiently("POST", url, body, tries=1 if payload is not None else MOST_TRIES)
            if reply.status < 400:
                return self._good(reply, asked)
            problem = Problem.read(reply.body, reply.status)
            if problem.kind != "badNonce":
                raise error_of(problem, asked, reply.retry_at)
        raise error_of(problem, asked)

    def _good(self, reply: Reply, asked: Asked) -> Reply:
        if reply.status >= 400:
            raise error_of(Problem.read(reply.body, reply.status), asked, reply.retry_at)
        if reply.status >= 300:
            raise self.strange(f"it answers {reply.status}")
        return reply

    async def _nonce(self) -> str:
        if not self._nonces:
            await self._patiently("HEAD", (await self.directory()).new_nonce)
        if not self._nonces:
            raise self.strange("it gives no nonce")
        return self._nonces.popleft()

    async def _patiently(
        self, method: str, url: str, body: bytes | None = None, tries: int = MOST_TRIES
    ) -> Reply:
        """Send a request, again if the connection breaks and it may be sent again."""
        for attempt in range(1, tries + 1):
            try:
                with trio.fail_after(REQUEST_S):
                    return await self._once(method, url, body)
            except (httpx2.HTTPError, trio.TooSlowError) as error:
                # one that is sent again with its nonce used up is refused, and tried with the next
                if attempt == tries or is_untrusted(error):
                    raise self._unreachable(error) from error
                self._surroundings.hear(self._unreachable(error))
            await trio.sleep(2.0**attempt * (0.5 + self._surroundings.random()))
        raise AssertionError("tries is at least one")

    async def _once(self, method: str, url: str, body: bytes | None) -> Reply:
        headers = {"Content-Type": MEDIA_TYPE} if body is not None else {}
        async with self._http.stream(method, url, content=body, headers=headers) as response:
            whole = await self._body(response)
        self._keep_nonce(response.headers.get("replay-nonce", ""))
        if method != "HEAD" and response.status_code < 300:
            self._check_kind(response, whole)
        return Reply(
            response.status_code,
            whole,
            location=response.headers.get("location"),
            retry_at=retry_after(response.headers, self._surroundings.clock()),
            alternates=_alternates(response.headers.get_list("link")),
        )

    async def _body(self, response: httpx2.Response) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self.strange("it is packed, which nobody asked for")
        whole = bytearray()
        async with aclosing(response.aiter_raw()) as parts:
            async for part in parts:
                whole += part
                if len(whole) > LARGEST:
                    raise self.strange(f"it is longer than {LARGEST} bytes")
        return bytes(whole)

    def _check_kind(self, response: httpx2.Response, whole: bytes) -> None:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if whole and kind not in {"application/json", "application/pem-certificate-chain"}:
            raise self.strange(f"it is of the kind {kind or 'unsaid'}")

    def _keep_nonce(self, nonce: str) -> None:
        if re.fullmatch(r"[A-Za-z0-9_-]{1,512}", nonce):  # section 6.5.1
            self._nonces.append(nonce)

    def _unreachable(self, error: Exception) -> AcmeError:
        if isinstance(error, trio.TooSlowError | httpx2.TimeoutException):
            return AcmeError.of("acme_unreachable", host=self.host, why="it takes too long to answer")
        code = "acme_untrusted" if is_untrusted(error) else "acme_unreachable"
        return AcmeError.of(code, host=self.host, why=why_of(error))


def retry_after(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """Read Retry-After, in seconds or as a date (RFC 9110 section 10.2.3), at most a week; None if unsaid."""
    said = headers.get("retry-after", "").strip()
    if not said:
        return None
    if said.isascii() and said.isdigit():
        seconds = min(int(said[:12]), LONGEST_WAIT.total_seconds())  # as many digits as anybody likes
        return now + timedelta(seconds=seconds)
    until = _date(said)
    if until is None:
        return None
    wait = until - (_date(headers.get("date", "")) or now)
    return now + max(timedelta(), min(wait, LONGEST_WAIT))


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)


def _alternates(links: Sequence[str]) -> tuple[str, ...]:
    found = [url for link in links for url, rel in _LINK.findall(link) if rel == "alternate"]
    return tuple(dict.fromkeys(found))


def transport_to(server: Server) -> httpx2.AsyncBaseTransport:
    """Make what talks to a server over TLS that its roots prove. Raises AcmeError for roots that are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.system_roots:
        context.load_default_certs()
    try:
        if server.ca_pem or not server.system_roots:
            context.load_verify_locations(cadata=server.ca_pem.decode("ascii"))
        return httpx2.AsyncHTTPTransport(verify=context, proxy=server.proxy, trust_env=False)
    except (ValueError, ssl.SSLError) as error:
        raise AcmeError.lasting("acme_roots_unusable", why=error) from None
