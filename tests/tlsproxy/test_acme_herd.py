"""Ten thousand devices whose power comes back in one moment, as their authority sees them."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks import power_cut
from benchmarks.power_cut import DEVICES, ORDER_REQUESTS, SUGGESTION_REQUESTS
from tests.authorities.years import Life, in_virtual_time

PICTURE = Path(__file__).parents[2] / "docs" / "acme-power-cut.svg"


def test_what_ten_thousand_ask_is_spread_over_an_hour():
    at_once, ours = power_cut.both()
    assert sum(ours) > 0.99 * DEVICES * SUGGESTION_REQUESTS  # nobody is lost
    assert sum(ours) == sum(at_once)
    assert max(ours) < 2 * sum(ours) / 60
    assert max(ours) < max(at_once) / 20


def test_no_device_waits_beyond_the_end_of_its_certificate():
    chance = random.Random(1)
    for device in power_cut.fleet(chance):
        end = device.begin + power_cut.LIFE
        assert power_cut.asks_at(device, chance.random()) < end or end < device.boots


async def test_a_renewal_costs_as_many_requests_as_the_picture_has_it(
    autojump_clock, monkeypatch, tmp_path, pki
):
    in_virtual_time(monkeypatch)
    life = Life.of(tmp_path / "store", pki, days=160 / 24, years=0.02, seed=1, suggests=True)
    life.outages, life.cuts = (), ()
    await life.live()
    asked = [path for _, path in life.authority.asked]
    begin = asked.index("/neworder", asked.index("/neworder") + 1)
    end = asked.index("/cert/1")
    renewal = asked[begin - 1 : end + 1]
    assert renewal[0] == "/dir"
    assert len(renewal) == ORDER_REQUESTS - 1, renewal  # and a nonce, where the directory brings none
    assert asked[end + 1 : end + 1 + SUGGESTION_REQUESTS][0] == "/dir"
    assert asked[end + SUGGESTION_REQUESTS].startswith("/ari/")


def test_the_picture_in_the_docs_is_the_one_that_is_drawn():
    assert PICTURE.read_text("utf-8") == power_cut.draw(*power_cut.both())
