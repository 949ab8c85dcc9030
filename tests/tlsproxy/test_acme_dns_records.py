"""Proofs by acme-dns, where its server can't be reached."""

from __future__ import annotations

import pytest
import trio

from certstore import Answer, AnswersUngiven, Challenge
from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount
from certstore.issuers.acme.wishes import Server
from tests.authorities.scripted import EPOCH
from tlsproxy.acmednsrecords import AcmeDnsRecords


async def test_an_acme_dns_server_by_a_name_with_two_addresses_is_told_of_by_the_systems_words() -> None:
    """Its own way to the words stopped at the group of what was tried."""
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        url = f"https://localhost:{taken.getsockname()[1]}"
        account = AcmeDnsAccount(url, "user", "password", "sub", "sub.acme-dns.test")
        answer = Answer(Challenge.DNS_01, "device.test", "token", "token.thumb", EPOCH)
        with trio.fail_after(30), pytest.raises(AnswersUngiven, match=r": Connection refused$"):
            await AcmeDnsRecords(account, Server(url)).publish([answer])
