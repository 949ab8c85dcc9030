"""Proofs of dns-01 by an acme-dns server: TXT records that its API sets (github.com/joohoi/acme-dns).

Promises: each request has an end, in time and size, goes over TLS that is verified as the authority's is, and
follows no redirect; what the server says is told in one bounded line without what steers a terminal. Nothing
is withdrawn: the API has no way to it, and a proof proves nothing a second time. Refuses to know orders.

The HTTP library is imported when an authority asks for such a proof: nobody else carries it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import trio

from certstore import Answer, AnswersUngiven
from tlsproxy import policy_acme as policy

if TYPE_CHECKING:
    import httpx2

    from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount
    from certstore.issuers.acme.wishes import Server

__all__ = ["AcmeDnsRecords"]

_LONGEST_WORD: Final = 100


@dataclass(frozen=True, slots=True)
class AcmeDnsRecords:
    """Gives answers by the records of one account; an `Answering`. server: the way to acme-dns."""

    account: AcmeDnsAccount
    server: Server

    async def publish(self, answers: Sequence[Answer]) -> None:
        """Have a record set for each, one after the other. Raises AnswersUngiven."""
        import httpx2

        from certstore.issuers.acme.causes import is_untrusted, why_of
        from certstore.issuers.acme.client import transport_to
        from certstore.issuers.acme.errors import AcmeError

        host = urlsplit(self.account.url).netloc
        try:
            transport = transport_to(self.server)
            async with httpx2.AsyncClient(
                transport=transport, trust_env=False, timeout=policy.DNS_S, headers=self._headers()
            ) as client:
                for answer in answers:
                    with trio.fail_after(policy.DNS_S):
                        await self._set(client, answer)
        except AcmeError as error:
            raise AnswersUngiven(error.finding.words) from error
        except (trio.TooSlowError, httpx2.TimeoutException) as error:
            raise AnswersUngiven(f"the acme-dns server {host} takes too long to answer") from error
        except httpx2.HTTPError as error:
            broken = "certificate verify failed: " if is_untrusted(error) else ""
            raise AnswersUngiven(f"the acme-dns server {host}: {broken}{why_of(error)}") from error

    async def withdraw(self, answers: Sequence[Answer]) -> None:
        """Leave the records: the next ones take their place."""

    def _headers(self) -> dict[str, str]:
        account = self.account
        return {
            "Accept-Encoding": "identity",
            "User-Agent": "tlsproxy",
            "X-Api-User": account.username,
            "X-Api-Key": account.password,
        }

    async def _set(self, client: httpx2.AsyncClient, answer: Answer) -> None:
        url = f"{self.account.url}/update"
        wanted = {"subdomain": self.account.subdomain, "txt": answer.txt}
        async with client.stream("POST", url, json=wanted) as reply:
            body = await _body(reply)
        said = _said(body)
        if reply.status_code != 200 or said.get("txt") != answer.txt:
            told = "".join(one for one in said.get("error", "")[:_LONGEST_WORD] if one.isprintable())
            host = urlsplit(url).netloc
            raise AnswersUngiven(f"the acme-dns server {host} answers {reply.status_code} {told}".rstrip())


async def _body(reply: httpx2.Response) -> bytes:
    """Read an answer's body; nothing of one that is too long to be one of acme-dns."""
    length = reply.headers.get("content-length", "0")
    if (
        len(length) > len(str(policy.ACME_DNS_BYTES))
        or not length.isdecimal()
        or int(length) > policy.ACME_DNS_BYTES
    ):
        return b""
    body = bytearray()
    async with aclosing(reply.aiter_raw()) as parts:
        async for part in parts:
            body += part
            if len(body) > policy.ACME_DNS_BYTES:
                return b""
    return bytes(body)


def _said(body: bytes) -> dict[str, str]:
    """Read an answer's texts; nothing where it is no JSON object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return (
        {key: value for key, value in found.items() if isinstance(value, str)}
        if isinstance(found, dict)
        else {}
    )
