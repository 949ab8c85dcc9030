"""Two years of renewals, with outages of up to three days and power cuts; and what authorities bear."""

from __future__ import annotations

import pytest
import trio

from certstore import KeyType
from tests.authorities.years import DAY_S, Life, Span, in_virtual_time, most_within

# Who has an hour and a half with both device and authority there, before the end, has no excuse.
NO_EXCUSE_S = 5_400.0


@pytest.mark.parametrize(
    ("days", "suggests", "seed"), [(160 / 24, True, 6), (160 / 24, False, 7), (47, True, 3), (90, False, 4)]
)
async def test_two_years_pass_and_nothing_expires_that_could_have_been_renewed(
    autojump_clock, monkeypatch, tmp_path, pki, days, suggests, seed
):
    in_virtual_time(monkeypatch, seed)
    life = Life.of(tmp_path / "store", pki, days=days, years=2, seed=seed, suggests=suggests)
    await life.live()
    lapses = list(life.lapses())
    for lapse, before in lapses:
        assert life.longest_chance(before) < NO_EXCUSE_S, (lapse, before)
    assert len(life.outages) > 20
    assert len(life.cuts) > 20
    assert len(life.taken) >= 2 * 365 / days  # it did renew
    assert len(life.taken) <= 2 * 365 / days * 2.3  # and not for nothing
    # Let's Encrypt's limits: orders of an account, looks at a name that fail, certificates for the same names
    assert most_within(life.orders, 3 * 3_600) <= 300
    assert most_within(life.unproved, 3_600) <= 5
    assert most_within([at for at, _, _ in life.taken], 7 * DAY_S) <= 5
    assert life.told


async def test_two_years_with_an_ec_and_an_rsa_certificate_pass_and_neither_is_ordered_twice(
    autojump_clock, monkeypatch, tmp_path, pki
):
    in_virtual_time(monkeypatch, 3)
    life = Life.of(tmp_path / "store", pki, days=47, years=2, seed=3, suggests=True)
    life.beside = KeyType.RSA2048
    await life.live()
    assert list(life.lapses()) == []
    assert 2 * 365 / 47 <= len(life.taken) <= 2 * 365 / 47 * 2.3
    assert len(life.authority.issued) - 2 * len(life.taken) in {0, 1}, "one may wait for the other at the end"
    assert most_within(life.orders, 3 * 3_600) <= 300
    assert most_within(life.unproved, 3_600) <= 5
    kinds = [KeyType.of(leaf.public_key()) for leaf in life.authority.issued[: 2 * len(life.taken)]]
    for place in range(0, len(kinds), 2):
        assert set(kinds[place : place + 2]) == {KeyType.EC, KeyType.RSA2048}


async def test_a_device_that_was_off_for_a_year_renews_within_minutes(
    autojump_clock, monkeypatch, tmp_path, pki
):
    in_virtual_time(monkeypatch)
    life = Life.of(tmp_path / "store", pki, days=47, years=1.5, seed=1, suggests=True)
    back_s = 400 * DAY_S
    life.outages, life.cuts = (), (Span(20 * DAY_S, back_s),)
    await life.live()
    again = next(at for at, _, _ in life.taken if at > back_s)
    assert again < back_s + 11 * 60


async def test_forty_devices_of_one_site_do_not_ask_in_one_minute(autojump_clock, monkeypatch, tmp_path, pki):
    """Their power was cut for two days, while half of them were due."""
    in_virtual_time(monkeypatch)
    cut = Span(3 * DAY_S, 5 * DAY_S)
    asked = list[float]()

    async def stand(number: int) -> None:
        await trio.sleep(number * DAY_S / 20)
        life = Life.of(tmp_path / str(number), pki, days=160 / 24, years=0.02, seed=number, suggests=False)
        life.outages, life.cuts = (), (cut,)
        await life.live()
        asked.extend(at for at in life.orders if at >= cut.end)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(stand, number)
    at_once_ = [at for at in asked if at < cut.end + 3_600]
    assert len(at_once_) > 15
    assert most_within(sorted(at_once_), 60) < 5
