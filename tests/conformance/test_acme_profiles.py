"""The ACME client against acme2certifier: profiles, renewal information, and who follows whom."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
import trio

from certstore import layout
from certstore.atomic import Disk
from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.issuing import Issuer, Surroundings
from certstore.issuers.acme.renewalinfo import certificate_id
from certstore.issuers.acme.wishes import Wish
from tests.authorities import acme2certifier
from tests.authorities.answering import Recorder

WITHIN_S = 120


async def test_profiles_and_renewal_information_of_an_authority_that_has_them(tmp_path, pki):
    (tmp_path / "server").mkdir()
    for folder in layout.folders():
        (tmp_path / "store" / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    issuer = Issuer(tmp_path / "store", Disk(), Surroundings(lambda: datetime.now(UTC), random.random))
    answerers = {Challenge.HTTP_01: Recorder()}
    with trio.fail_after(WITHIN_S):
        async with acme2certifier.running(tmp_path / "server", pki) as server:
            offered = await issuer.directory(server)
            assert set(offered.profiles) == set(acme2certifier.PROFILES)
            await issuer.register(server, contacts=["office@example.test"], terms_agreed=True)
            with pytest.raises(AcmeError) as refused:
                await issuer.issue(server, Wish(("a.example.test",), profile="none such"), answerers)
            assert refused.value.code == "acme_profile_unknown"
            wish = Wish(("a.example.test",), profile="shortlived")
            issued = await issuer.issue(server, wish, answerers)
            await issuer.taken(issued)
            info = await issuer.renewal_info(server, issued.leaf)
            assert info is not None
            assert issued.leaf.not_valid_before_utc < info.start < info.end
            assert info.end <= issued.leaf.not_valid_after_utc
            assert timedelta(hours=23) < info.again_at - datetime.now(UTC) <= timedelta(days=1)
            follower = Wish(wish.names, profile="classic", replaces=certificate_id(issued.leaf))
            followed = await issuer.issue(server, follower, answerers)
            assert followed.replaced
            assert followed.leaf != issued.leaf
