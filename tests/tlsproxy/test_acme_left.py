"""What ACME brought for names that aren't wanted any more, with a real keeper and store, in virtual time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import PurePath

import httpx2
import pytest
import trio

from certstore import InProcess, NotFound, Slot, Source, Store
from certstore.errors import StoreNotWritable
from certstore.issuers.acme.enrolment import Enrolment
from tests.authorities.years import DAY_S, ROOT, Life, in_virtual_time
from tests.pki import Pki
from tests.storing import OpenGate, candidate_of
from tlsproxy.acmekeeping import AcmeKeeper, Terms
from tlsproxy.acmeleft import left_in

HOUR_S = 3_600.0


@pytest.fixture
def life(tmp_path, pki, monkeypatch) -> Life:
    in_virtual_time(monkeypatch)
    made = Life.of(tmp_path / "store", pki, days=90, years=1, seed=1, suggests=True)
    made.outages = ()
    return made


async def want(life: Life, keeper: AcmeKeeper, *names: str, seconds: float = HOUR_S) -> None:
    """Enable it for these names, and let time go by."""

    def make(since: datetime) -> Enrolment:
        return replace(life.enrolment(since), names=names)

    await keeper.enable(make, Terms(is_agreed=True), ROOT)
    with trio.move_on_after(seconds):
        await keeper.run()


def served(store: Store) -> set[tuple[str, ...]]:
    return {slot.names for slot in store.slots() if slot.source is Source.ACME}


async def left(keeper: AcmeKeeper) -> list[list[str]]:
    standing = await keeper.standing()
    assert standing is not None
    return [one["names"] for one in standing["left"]]  # type: ignore[attr-defined]


async def test_a_name_that_is_not_wanted_any_more_is_told_and_served_until_its_end(autojump_clock, life):
    """It stayed for ever, and ended some day without a word."""
    with life.store() as store:
        keeper = life.keeper(store)
        await want(life, keeper, "a.test")
        assert await left(keeper) == []
        await keeper.enable(
            lambda since: replace(life.enrolment(since), names=("b.test",)), Terms(is_agreed=True), ROOT
        )
        assert await left(keeper) == [["a.test"]], "who has just enabled it is told"
        with trio.move_on_after(30 * DAY_S):
            await keeper.run()
        assert served(store) == {("a.test",), ("b.test",)}
        (trouble,) = keeper.troubles()
        assert trouble.code == "acme_names_left"
        assert trouble.words.startswith("a.test isn't wanted of the ACME authority any more")
        assert life.told == ["acme_names_left"], "once"
        with trio.move_on_after(70 * DAY_S):
            await keeper.run()
        assert served(store) == {("b.test",)}
        assert await left(keeper) == list(keeper.troubles()) == []


async def test_one_for_whose_names_another_stands_goes_when_that_has_come(autojump_clock, life):
    with life.store() as store:
        keeper = life.keeper(store)
        await want(life, keeper, "a.test")
        await want(life, keeper, "a.test", "b.test")
        assert served(store) == {("a.test", "b.test")}
        await want(life, keeper, "b.test")
        assert served(store) == {("a.test", "b.test"), ("b.test",)}
        assert await left(keeper) == [["a.test"]]
        assert life.told == ["acme_names_left"]


async def test_a_customers_certificate_counts(autojump_clock, life, pki):
    with life.store() as store:
        keeper = life.keeper(store)
        await want(life, keeper, "a.test")
        put(store, pki, ("a.test",), source=Source.CUSTOMER, via="test")
        await want(life, keeper, "b.test")
        assert served(store) == {("b.test",)}


async def test_nothing_goes_before_what_is_wanted_now_has_come(autojump_clock, life):
    """Not even when it has ended: what is there is more than nothing."""
    with life.store() as store:
        keeper = life.keeper(store)
        await want(life, keeper, "a.test")

        def refuses(_method: str, path: str) -> httpx2.Response | None:
            if path == "/neworder":
                raise httpx2.ConnectError("nobody there")
            usual: httpx2.Response | None = life._script("", path)
            return usual

        life.authority.script = refuses
        await want(life, keeper, "b.test", seconds=100 * DAY_S)
        assert served(store) == {("a.test",)}
        life.authority.script = life._script
        with trio.move_on_after(DAY_S):
            await keeper.run()
        assert served(store) == {("b.test",)}


@pytest.mark.parametrize("error", [StoreNotWritable(PurePath("slots"), "disk full"), NotFound("slot", "x")])
async def test_one_that_cannot_be_taken_away_is_told_and_not_tried_each_turn(
    autojump_clock, life, monkeypatch, error
):
    tries = list[Slot]()

    async def refuse(slot: Slot) -> None:
        await trio.lowlevel.checkpoint()
        tries.append(slot)
        raise error

    with life.store() as store:
        keeper = life.keeper(store)
        await want(life, keeper, "a.test")
        monkeypatch.setattr(keeper._tidying, "_retire", refuse)
        await want(life, keeper, "a.test", "b.test", seconds=20 * DAY_S)
        assert len(tries) == 1
        with trio.move_on_after(60 * DAY_S):  # it is renewed
            await keeper.run()
        assert len(tries) == 2


def put(store: Store, pki: Pki, names: tuple[str, ...], *, source: Source, via: str, **more: object) -> None:
    examiner = InProcess(OpenGate())
    store.propose(candidate_of(pki.leaf(names, **more)), source=source, via=via, examiner=examiner)  # type: ignore[arg-type]


async def test_an_exact_name_that_would_be_served_before_the_wildcard_is_replaced_by_it(
    autojump_clock, life, pki
):
    """Among those of one source the exact one goes before: it would be served, and never renewed."""
    with life.store() as store:
        put(store, pki, ("a.b.test",), source=Source.ACME, via="acme")
        put(store, pki, ("watched.test",), source=Source.ACME, via="watch:/x")
        put(store, pki, ("*.b.test",), source=Source.ACME, via="acme")
        current = next(slot for slot in store.slots() if slot.names == ("*.b.test",))
        (one,) = left_in(store, ("*.b.test",), current, life.clock())
        assert (one.slot.names, one.names, one.is_replaced, one.has_ended) == (("a.b.test",), (), True, False)
        assert not any(one.is_replaced for one in left_in(store, ("*.b.test",), None, life.clock()))
        later = life.clock() + timedelta(days=10_000)
        (one,) = left_in(store, ("*.b.test",), current, later)
        assert (one.is_replaced, one.has_ended) == (False, True)
