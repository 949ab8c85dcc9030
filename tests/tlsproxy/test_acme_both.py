"""An EC and an RSA certificate by one enrolment, with a real keeper and store: they come and go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import trio

from certstore import Bundle, KeyType, Slot, Source, Store, layout
from certstore.issuers.acme.renewalinfo import certificate_id
from tests.authorities.scripted import Order, answer
from tests.authorities.years import DAY_S, ROOT, Life, in_virtual_time
from tlsproxy.acmekeeping import AcmeKeeper, Terms

HOUR_S = 3_600.0


@pytest.fixture
def life(tmp_path, pki, monkeypatch) -> Life:
    in_virtual_time(monkeypatch)
    made = Life.of(tmp_path / "store", pki, days=90, years=1, seed=1, suggests=True)
    made.outages, made.beside = (), KeyType.RSA2048
    return made


async def live(life: Life, seconds: float) -> None:
    with life.store() as store:
        keeper = life.keeper(store)
        if not store.is_enrolled:
            await life.enable(keeper)
        with trio.move_on_after(seconds):
            await keeper.run()


def of_acme(store: Store) -> list[Slot]:
    return [slot for slot in store.slots() if slot.source is Source.ACME]


def served(life: Life) -> list[Bundle]:
    with life.store() as store:
        return [store.bundle(id_) for slot in of_acme(store) for id_ in slot.bundles]


def kinds(bundles: list[Bundle]) -> list[str]:
    return [bundle.key_type for bundle in bundles]


def orders_left(life: Life) -> int:
    return len(list((life.root / layout.ORDERS).iterdir()))


async def want(life: Life, keeper: AcmeKeeper, **other: Any) -> None:
    def make(**since):
        return replace(life.enrolment(**since), **other)

    await keeper.enable(make, Terms(is_agreed=True), ROOT)


async def test_both_come_in_one_change_and_each_follows_its_own_kind(autojump_clock, life):
    await live(life, 70 * DAY_S)
    first, second = life.authority.issued[:2], life.authority.issued[2:]
    assert [one.leaf for one in served(life)] == second
    assert kinds(served(life)) == ["EC", "RSA"]
    with life.store() as store:
        changes = [one for one in store.receipts() if one.source is Source.ACME]
        assert all(one.beside is not None for one in changes)
        assert len(changes) == 2
    replaced = [order.payload.get("replaces") for order in life.authority.orders]
    assert replaced == [None, None, *map(certificate_id, first)]
    assert orders_left(life) == 0


@pytest.mark.parametrize("early", [0, 1], ids=["EC", "RSA"])
async def test_both_are_renewed_when_the_authority_wants_the_first_of_them_renewed(
    autojump_clock, life, early
):
    def script(method: str, path: str) -> httpx2.Response | None:
        if not path.startswith("/ari/"):
            return None
        issued = life.authority.issued
        asked, leaf = next(
            (n, one) for n, one in enumerate(issued) if path.endswith(str(certificate_id(one)))
        )
        start = leaf.not_valid_before_utc + timedelta(days=20 if asked == early else 50)
        window = {"start": start.isoformat(), "end": (start + timedelta(days=2)).isoformat()}
        return answer(200, {"suggestedWindow": window}, **{"Retry-After": "21600"})

    life.authority.script = script
    await live(life, 19 * DAY_S)
    assert len(life.authority.issued) == 2
    await live(life, 4 * DAY_S)
    assert len(life.authority.issued) == 4


async def test_a_short_one_has_both_renewed_in_its_time(autojump_clock, life):
    life.authority.has_renewal_info = False

    def issue(request: Any, order: Order) -> bytes:
        life.authority.days = 90.0 if len(life.authority.issued) % 2 == 0 else 30.0
        made: bytes = life.authority.issue(request, order)
        return made

    life.authority.issuing = issue
    await live(life, 17 * DAY_S)
    assert len(life.authority.issued) == 2
    await live(life, 5 * DAY_S)
    assert len(life.authority.issued) == 4


async def test_both_keys_are_kept_where_somebody_pins_them(autojump_clock, life):
    with life.store() as store:
        keeper = life.keeper(store)
        await want(life, keeper, keeps_key=True)
        with trio.move_on_after(HOUR_S):
            await keeper.run()
    before = served(life)
    await live(life, 70 * DAY_S)
    assert [one.spki for one in served(life)] == [one.spki for one in before]
    assert [one.leaf for one in served(life)] == life.authority.issued[2:]


async def test_who_wants_both_after_one_has_both_and_one_after_both_has_one(autojump_clock, life):
    seen = []
    for beside in (None, KeyType.RSA3072, None):
        with life.store() as store:
            keeper = life.keeper(store)
            await want(life, keeper, beside=beside)
            with trio.move_on_after(HOUR_S):
                await keeper.run()
            shown = await keeper.standing()
        seen.append(kinds(served(life)))
        assert shown is not None
        assert shown["beside"] == beside
        prints = [shown["sha256"], shown["beside_sha256"]]
        assert [one for one in prints if one is not None] == [one.fingerprint for one in served(life)]
        assert (shown["beside_not_after"] is None) is (beside is None)
    assert seen == [["EC"], ["EC", "RSA"], ["EC"]]
    former = [None, certificate_id(life.authority.issued[0]), None, certificate_id(life.authority.issued[1])]
    assert [order.payload.get("replaces") for order in life.authority.orders] == former
    assert orders_left(life) == 0


async def test_what_is_waited_for_says_of_which_of_both(autojump_clock, life):
    events = list[Mapping[str, object]]()
    with life.store() as store:
        keeper = life.keeper(store)
        keeper.herald.tell = events.append
        await life.enable(keeper)
        with trio.move_on_after(HOUR_S):
            await keeper.run()
    told = [(one["step"], one.get("key_type")) for one in events if one["state"] == "step"]
    steps = ["order", "answering", "validation", "issuance", "download"]
    each = [[("account", None), *((step, kind) for step in steps)] for kind in ("ec", "rsa2048")]
    assert told == [("account", None), *each[0], *each[1], ("taking", None)]
    assert [one["state"] for one in events if one["state"] != "step"] == ["asked", "issued"]
