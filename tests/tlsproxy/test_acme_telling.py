"""What followers are told while a certificate of an ACME authority comes, with a real keeper and store."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from certstore.findings import LONGEST_FACT
from tests.authorities.scripted import says, unscripted
from tests.authorities.years import DAY_S, NAME, ROOT, Life, in_virtual_time
from tlsproxy.acmekeeping import AcmeRefusedError

HOUR_S = 3_600.0
EVIL = "\x1b]0;owned\x07\x1b[2Jgood\r\n\u202e{host}" + "x" * 5_000


@pytest.fixture
def life(tmp_path, pki, monkeypatch) -> Life:
    in_virtual_time(monkeypatch)
    made = Life.of(tmp_path / "store", pki, days=90, years=1, seed=1, suggests=True)
    made.outages = ()
    return made


class Followed:
    """A keeper whose events are noted, each with how things stood when it was told."""

    def __init__(self, keeper) -> None:
        self.keeper, self.events = keeper, list[dict[str, Any]]()
        self.steps_then = list[bool]()
        keeper.herald.tell = self._hear

    def _hear(self, facts) -> None:
        self.events.append(json.loads(json.dumps(facts)))
        self.steps_then.append(self.keeper.herald.progress is not None)

    def states(self) -> list[str]:
        return [one.get("step", one["state"]) for one in self.events]


async def test_each_step_is_told_once_and_what_came_of_it_last_of_all(autojump_clock, life):
    with life.store() as store:
        followed = Followed(life.keeper(store))
        await life.enable(followed.keeper)
        assert followed.states() == ["account", "asked"]
        with trio.move_on_after(HOUR_S):
            await followed.keeper.run()
    steps = ["account", "order", "answering", "validation", "issuance", "download", "taking"]
    assert followed.states() == ["account", "asked", *steps, "issued"]
    order = followed.events[3]
    assert order["names"] == [NAME]
    assert order["challenge"] == "http-01"
    assert order["authority"] == life.authority.server.directory
    assert followed.steps_then[-1] is False, "who asks then how things stand is told of the end"
    assert followed.steps_then[2:-1] == [True] * (len(followed.events) - 3)


async def test_what_an_authority_says_steers_no_terminal_and_is_bounded(autojump_clock, life):
    def script(method: str, path: str):
        return says(403, "rejectedIdentifier", EVIL) if path == "/neworder" else None

    life.authority.script = script
    with life.store() as store:
        followed = Followed(life.keeper(store))
        await life.enable(followed.keeper)
        with trio.move_on_after(HOUR_S):
            await followed.keeper.run()
        shown = await followed.keeper.standing()
    failed = next(one for one in followed.events if one["state"] == "failed")
    assert failed["code"] == "acme_names_refused"
    assert "good" in failed["words"]
    assert shown is not None
    last = shown["last_failure"]
    assert isinstance(last, dict)
    for text in (failed["words"], failed["hint"], last["words"], last["hint"]):
        assert text.isprintable()
        assert len(text) < 3 * LONGEST_FACT
    assert failed["failures"] == 1
    assert failed["next_at"] is not None


@pytest.mark.parametrize("kind", ["malformed", "userActionRequired", "\x1b[2J"])
async def test_what_it_says_of_the_account_goes_no_other_way(autojump_clock, life, kind):
    life.authority.script = lambda _, path: says(400, kind, EVIL) if path == "/account" else None
    with life.store() as store:
        followed = Followed(life.keeper(store))
        with pytest.raises(AcmeRefusedError) as refused:
            await life.enable(followed.keeper)
        assert str(refused.value).isprintable()
        assert refused.value.hint.isprintable()
        assert len(str(refused.value)) < 3 * LONGEST_FACT
    assert followed.states() == ["account"]
    assert followed.keeper.herald.progress is None


async def test_who_asks_for_something_else_in_the_midst_pauses_it(autojump_clock, life):
    reached = trio.Event()

    def script(method: str, path: str) -> None:
        if path == "/neworder":
            reached.set()
            life.authority.script = unscripted

    life.authority.script = script
    with life.store() as store:
        followed = Followed(life.keeper(store))
        await life.enable(followed.keeper)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(followed.keeper.run)
            await reached.wait()
            await followed.keeper.renew(ROOT)
            await trio.sleep(HOUR_S)
            assert followed.states()[:4] == ["account", "asked", "account", "order"]
            assert followed.states().index("paused") < followed.states().index("issued")
            await followed.keeper.disable(ROOT)
            await trio.sleep(DAY_S)
            nursery.cancel_scope.cancel()
    assert followed.states()[-1] == "disabled"
