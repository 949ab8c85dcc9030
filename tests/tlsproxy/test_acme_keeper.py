"""The keeper of the ACME certificate, with a real store and an authority in memory: what can go wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import trio

from certstore import Reset, Scope, Source, layout, spki_of
from certstore.atomic import Disk
from certstore.issuers import selfsigned
from certstore.issuers.acme.enrolment import Enrolments
from certstore.issuers.selfsigned import Identity
from tests.authorities.scripted import EPOCH, answer, unscripted
from tests.authorities.years import DAY_S, ROOT, Life, in_virtual_time
from tests.storing import ShutGate, propose
from tlsproxy import policy_acme
from tlsproxy.acmekeeping import Terms

HOUR_S = 3_600.0


@pytest.fixture
def life(tmp_path, pki, monkeypatch) -> Life:
    in_virtual_time(monkeypatch)
    made = Life.of(tmp_path / "store", pki, days=90, years=1, seed=1, suggests=True)
    made.outages = ()
    return made


async def live(life: Life, seconds: float) -> None:
    with life.store() as store:
        keeper = life.keeper(store)
        if not store.is_enrolled:
            await life.enable(keeper)
        with trio.move_on_after(seconds):
            await keeper.run()


def renewal(life: Life):
    enrolments = Enrolments(life.root, Disk())
    enrolments.load()
    return enrolments.renewal


# --- what lies on the disk


async def test_what_went_wrong_with_a_renewals_file_costs_no_renewal(autojump_clock, life):
    await live(life, HOUR_S)
    (life.root / layout.RENEWAL).write_bytes(b"\0" * 100)
    await live(life, 80 * DAY_S)
    assert len(life.authority.issued) == 2


async def test_whose_enrolment_is_damaged_hears_of_it_and_can_enrol_again(autojump_clock, life):
    await live(life, HOUR_S)
    (life.root / layout.ENROLMENT).write_bytes(b"{")
    with life.store() as store:
        keeper = life.keeper(store)
        with trio.move_on_after(DAY_S):
            await keeper.run()
        assert [one.code for one in keeper.troubles()] == ["acme_account_damaged"]
        await life.enable(keeper)
        assert list(keeper.troubles()) == []
        with trio.move_on_after(HOUR_S):
            await keeper.run()
    assert len(life.authority.issued) == 2
    assert len(life.authority.accounts) == 1


async def test_two_who_enrol_at_a_time_make_one_account(autojump_clock, life):
    with life.store() as store:
        keeper = life.keeper(store)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(life.enable, keeper)
                nursery.start_soon(keeper.standing)
    assert len(life.authority.accounts) == 1
    assert len([one for one in (life.root / layout.ACCOUNTS).iterdir() if one.is_dir()]) == 1


async def test_a_disk_that_is_full_in_the_midst_places_no_order_each_minute(
    autojump_clock, life, monkeypatch
):
    """The order's address can't be written: nobody knows of it when the next turn begins."""
    monkeypatch.setattr(policy_acme, "TURN_S", 60.0)
    full = False

    def before(step: str, path: Path) -> None:
        if full and "order.json" in path.name:
            raise OSError(28, "No space left on device")

    def script(method: str, path: str) -> None:
        nonlocal full
        full = full or path == "/neworder"

    life.disk, life.authority.script = Disk(before), script
    await live(life, DAY_S)
    assert 2 <= len(life.authority.orders) < 24
    assert renewal(life).code == "store_not_writable"
    full, life.authority.script = False, unscripted
    await live(life, 7 * HOUR_S)
    assert len(life.authority.issued) == 1


async def test_orders_that_came_to_nothing_are_not_kept_for_ever(autojump_clock, life, monkeypatch):
    monkeypatch.setattr("certstore.issuers.acme.issuing.KEPT", timedelta(days=1))
    life.authority.stays_processing = True
    await live(life, 4 * DAY_S)
    assert len(life.authority.orders) > 2
    assert len(list((life.root / layout.ORDERS).iterdir())) == 1


async def test_a_certificate_that_is_refused_here_is_not_asked_for_again_at_once(
    autojump_clock, life, monkeypatch
):
    monkeypatch.setattr("tests.authorities.years.OpenGate", ShutGate)
    await live(life, DAY_S / 2 - 60)
    assert len(life.authority.issued) == 1
    assert renewal(life).code == "acme_certificate_refused"
    assert list((life.root / layout.ORDERS).iterdir()) == []


@pytest.mark.parametrize("keeps_key", [False, True])
async def test_whose_key_is_banned_gets_another_with_another_key(autojump_clock, life, pki, keeps_key):
    with life.store() as store:
        propose(store, pki.leaf(("own.test",), issuer=None), Source.GENERATED)
        keeper = life.keeper(store)
        await keeper.enable(
            lambda since: replace(life.enrolment(since), keeps_key=keeps_key), Terms(is_agreed=True), ROOT
        )
        with trio.move_on_after(HOUR_S):
            await keeper.run()
        lost = spki_of(life.authority.issued[0].public_key())
        store.ban(lost, via="test")
        with trio.move_on_after(2 * HOUR_S):
            await keeper.run()
    assert [spki_of(one.public_key()) == lost for one in life.authority.issued] == [True, False]
    assert life.told == []


# --- what an authority does


@pytest.mark.parametrize("how", ["forgotten", "ended", "told_as_ended", "moved"])
async def test_whose_account_is_over_enrols_again(autojump_clock, life, how):
    await live(life, HOUR_S)
    accounts = life.authority.accounts
    before = {one.name for one in (life.root / layout.ACCOUNTS).iterdir() if one.is_dir()}
    (url,) = accounts
    match how:
        case "forgotten":
            accounts.clear()
        case "moved":
            accounts["https://acme.test/moved/0"] = accounts.pop(url)
        case "ended":
            life.authority.ended = {url}
        case "told_as_ended":
            life.authority.ended = {url}
            life.authority.says_of_ended = lambda: answer(200, {"status": "deactivated"}, Location=url)
    with life.store() as store:
        keeper = life.keeper(store)
        with trio.move_on_after(70 * DAY_S):
            await keeper.run()
        assert len(life.authority.issued) == 1
        assert life.told[0] in {"acme_account_unknown", "acme_refused"}
        await life.enable(keeper)
        with trio.move_on_after(HOUR_S):
            await keeper.run()
    assert len(life.authority.issued) == 2
    after = {one.name for one in (life.root / layout.ACCOUNTS).iterdir() if one.is_dir()}
    assert len(after) == 1
    assert (after == before) is (how == "moved")


@pytest.mark.parametrize("late_days", [0.0, 3.0, 4_000.0])
async def test_an_authority_that_suggests_the_end_or_later_costs_no_certificate(
    autojump_clock, life, late_days
):
    def late(method: str, path: str) -> httpx2.Response | None:
        if not path.startswith("/ari/"):
            return None
        start = life.authority.issued[-1].not_valid_after_utc + timedelta(days=late_days)
        window = {"start": start.isoformat(), "end": (start + timedelta(days=1)).isoformat()}
        return answer(200, {"suggestedWindow": window})

    life.authority.script = late
    await live(life, 85 * DAY_S)
    assert len(life.authority.issued) == 2


async def test_nobody_is_asked_about_a_certificate_that_has_ended(autojump_clock, life):
    """RFC 9773 section 4.3."""
    asked = list[float]()

    def script(method: str, path: str) -> httpx2.Response | None:
        if path.startswith("/ari/"):
            asked.append(trio.current_time())
        if path == "/neworder" and life.authority.issued:
            raise httpx2.ConnectError("nobody there")
        return None

    life.authority.script = script
    await live(life, 100 * DAY_S)
    ended = (life.authority.issued[0].not_valid_after_utc - EPOCH).total_seconds()
    assert asked
    assert max(asked) < ended


async def test_when_a_certificate_is_renewed_is_known_as_soon_as_it_is_there(autojump_clock, life):
    """Not only when the pause after it is over; and where the authority suggests nothing it stands."""

    def silent(method: str, path: str) -> httpx2.Response | None:
        return answer(404, {}) if path.startswith("/ari/") else None

    life.authority.script = silent
    await live(life, 60.0)
    told = renewal(life)
    leaf = life.authority.issued[0]
    third = leaf.not_valid_after_utc - timedelta(days=30)
    assert told.renew_at is not None
    assert third - timedelta(days=5) < told.renew_at <= third
    await live(life, 3 * HOUR_S)
    assert (renewal(life).bundle, renewal(life).renew_at) == (told.bundle, told.renew_at)


# --- a reset


async def test_a_reset_in_the_midst_of_an_order_leaves_no_key_of_it(autojump_clock, life, pki):
    def own():
        made = selfsigned.new_key()
        return selfsigned.issue(Identity(("own.test",), "", "own.test"), made, life.clock())

    for at in range(1, 12):
        life.root = life.root.with_name(f"store{at}")
        with life.store() as store:
            propose(store, pki.leaf(("own.test",)), Source.GENERATED)
            keeper, requests, reached = life.keeper(store), 0, trio.Event()

            def script(method: str, path: str, at=at, reached=reached) -> None:
                nonlocal requests
                requests += 1
                if requests == at:
                    reached.set()

            life.authority.script = unscripted
            await life.enable(keeper)
            life.authority.script = script
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keeper.run)
                with trio.move_on_after(HOUR_S):  # the last of them come when all is done
                    await reached.wait()
                async with keeper.at_rest():
                    store.reset(Reset(frozenset(Scope), own()), via="test")
                await trio.sleep(2 * HOUR_S)
                nursery.cancel_scope.cancel()
            assert [one.source for one in store.slots()] == [Source.GENERATED]
            assert list((life.root / layout.ORDERS).iterdir()) == []
            assert list((life.root / layout.ACCOUNTS).iterdir()) == []
            assert await keeper.standing() is None
