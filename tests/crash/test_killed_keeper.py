"""The keeper of the ACME certificate, killed or cancelled at every step from a person's word to its end.

A start that follows goes on: one account, one certificate for each word, nothing left over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from certstore import Source, layout
from certstore.atomic import Disk
from certstore.issuers.acme.enrolment import Enrolments
from tests.authorities.years import ROOT, Life, in_virtual_time
from tests.crash.test_killed_acme import MOST, Killed, Stop, is_of, run
from tests.pki import Pki

SOON_S = 600.0
Act = Callable[[Life], Awaitable[None]]


def device(root: Path, pki: Pki) -> Life:
    life = Life.of(root, pki, days=90, years=1, seed=1, suggests=True)
    life.outages = ()
    return life


async def enrol(life: Life) -> None:
    """Enrol, where nobody has yet, and have what comes of it."""
    with life.store() as store:
        keeper = life.keeper(store)
        if not store.is_enrolled:
            await life.enable(keeper)
        with trio.move_on_after(SOON_S):
            await keeper.run()


async def renew(life: Life) -> None:
    """Have another one, as a person does who asks again where that was of no effect."""
    with life.store() as store:
        keeper = life.keeper(store)
        if len(life.authority.issued) == 1:
            await keeper.renew(ROOT)
        with trio.move_on_after(SOON_S):
            await keeper.run()


async def nothing(life: Life) -> None:
    """Do nothing beforehand."""


def check(life: Life, certificates: int) -> None:
    assert len(life.authority.accounts) == 1
    assert len(life.authority.issued) == certificates
    assert life.answering.given == []
    with life.store() as store:
        newest = max((s for s in store.slots() if s.source is Source.ACME), key=lambda slot: slot.newness)
        assert store.bundle(newest.bundle).leaf == life.authority.issued[-1]
    enrolments = Enrolments(life.root, Disk())
    assert enrolments.load() == ()
    assert (enrolments.renewal.is_asked, enrolments.renewal.failures) == (False, 0)
    assert list((life.root / layout.ORDERS).iterdir()) == []
    names = {one.name for one in (life.root / layout.ACCOUNTS).iterdir()}
    assert names > {"enrolment.json", "renewal.json"}
    assert len(names) == 3
    assert life.told == []


ACTS = [(nothing, enrol, 1), (enrol, renew, 2)]


@pytest.mark.parametrize(("before", "act", "certificates"), ACTS)
def test_a_kill_before_any_disk_step_has_it_go_on(monkeypatch, tmp_path, pki, before, act, certificates):
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, count, died = device(tmp_path / str(at), pki), 0, False

        def strike(step: str, path: Path, at=at) -> None:
            nonlocal count
            count += 1
            if count >= at:  # nor does anything come after it
                raise Killed

        async def whole(life=life, strike=strike) -> None:
            nonlocal died
            await before(life)
            life.disk = Disk(strike)
            try:
                await act(life)
            except BaseException as error:
                if not is_of(error, Killed):
                    raise
                died = True
            life.disk = Disk()
            life.answering.given.clear()
            await act(life)
            check(life, certificates)

        run(whole)
        if not died:
            assert at > 20
            return
    raise AssertionError("it never ran through")


@pytest.mark.parametrize(("before", "act", "certificates"), ACTS)
def test_a_cancellation_at_any_await_has_it_go_on(monkeypatch, tmp_path, pki, before, act, certificates):
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, stop = device(tmp_path / str(at), pki), Stop(at)
        was_cancelled = False

        async def whole(life=life, stop=stop) -> None:
            nonlocal was_cancelled
            await before(life)
            with trio.CancelScope() as stop.scope:
                await act(life)
            was_cancelled = stop.scope.cancelled_caught
            stop.scope = None
            await act(life)
            check(life, certificates)

        run(whole, stop)
        if not was_cancelled and stop.seen < at:
            assert at > 40
            return
    raise AssertionError("it never ran through")


def test_whoever_asks_again_at_any_await_gets_one_certificate(monkeypatch, tmp_path, pki):
    """The same words a second time, while the first are under way: one lets go, the other goes on."""
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, stop = device(tmp_path / str(at), pki), Stop(at)
        ran_through = True

        async def whole(life=life, stop=stop) -> None:
            nonlocal ran_through
            with life.store() as store:
                keeper = life.keeper(store)
                await life.enable(keeper)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(keeper.run)
                    with trio.CancelScope() as stop.scope:
                        await trio.sleep(SOON_S)
                    if stop.scope.cancelled_caught:
                        ran_through = False
                        await life.enable(keeper)
                        await trio.sleep(SOON_S)
                    nursery.cancel_scope.cancel()
            check(life, 1)

        run(whole, stop)
        if ran_through:
            assert at > 40
            return
    raise AssertionError("it never ran through")
