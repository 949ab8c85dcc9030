"""A clock that jumps ten years, either way, while clients are served: nobody notices, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import trio

from certstore import State
from tests.pki import Pki
from tests.whole_proxy import JumpingClock, scene
from tlsproxy import app, policy

YEARS = timedelta(days=3653)


async def test_ten_years_forth_and_back_with_a_connection_going_on(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = JumpingClock()
    monkeypatch.setattr(app, "now", clock)
    monkeypatch.setattr(policy, "CARE_S", 0.05)
    with trio.fail_after(120):
        async with scene(tmp_path, clock) as at:
            mine = pki.leaf()
            assert (await at.propose(mine)).state is State.CONFIRMED
            fingerprint, before = mine.bundle().fingerprint, await at.own()
            assert await at.served() == fingerprint

            await at.jump(YEARS)  # ahead: nobody can tell that it is wrong
            assert await at.served() == fingerprint  # expired, and nothing valid to replace it

            refused = await at.propose(pki.leaf())
            assert (refused.state, "expired" in refused.codes) == (State.REFUSED, True)
            later = await at.own()
            assert (later.spki, later.not_after > before.not_after) == (before.spki, True)

            await at.jump(-YEARS)  # behind the making of this software: plainly wrong
            assert await at.served() == fingerprint
            doubtful = await at.propose(mine_too := pki.leaf())
            assert (doubtful.state, "not_yet_valid_doubtful" in doubtful.codes) == (State.CONFIRMED, True)
            assert await at.served() == mine_too.bundle().fingerprint

            await at.jump(timedelta(0))  # and right again: behind what was seen in the year it was ahead
            assert await at.served() == mine_too.bundle().fingerprint
            third = pki.leaf()
            assert (await at.propose(third)).state is State.CONFIRMED
            assert await at.served() == third.bundle().fingerprint
            assert (await at.own()).spki == before.spki
