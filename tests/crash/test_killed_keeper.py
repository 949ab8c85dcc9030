"""The keeper of the ACME certificate, killed or cancelled at every step from a person's word to its end.

A start that follows goes on: one account, one certificate of each kind for each word, nothing left over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from itertools import cycle
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.serialization import load_der_private_key

from certstore import Source, layout
from certstore.atomic import Disk
from certstore.issuers import csr
from certstore.issuers.acme.enrolment import Enrolments
from certstore.issuers.csr import KeyType
from tests.authorities.scripted import says
from tests.authorities.years import ROOT, Life, in_virtual_time
from tests.crash.test_killed_acme import MOST, Killed, Stop, is_of, run
from tests.pki import Pki

SOON_S = 600.0
Act = Callable[[Life], Awaitable[None]]


def device(root: Path, pki: Pki, beside: KeyType | None = None) -> Life:
    life = Life.of(root, pki, days=90, years=1, seed=1, suggests=True)
    life.outages, life.beside = (), beside
    return life


@pytest.fixture(scope="module")
def rsa_keys() -> list[csr.RequestKey]:
    return [csr.new_key(KeyType.RSA2048) for _ in range(8)]


@pytest.fixture
def keys_made(monkeypatch, rsa_keys) -> None:
    """Have RSA keys that were made, and prove their primes, once: hundreds of lives begin here."""
    make, made = csr.new_key, cycle(rsa_keys)
    monkeypatch.setattr(csr, "new_key", lambda kind: next(made) if kind.is_rsa else make(kind))
    monkeypatch.setattr("certstore.loading.load_der_private_key", cache(load_der_private_key))


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
        if len(life.authority.issued) == len(life.enrolment(life.clock()).key_types):
            await keeper.renew(ROOT)
        with trio.move_on_after(SOON_S):
            await keeper.run()


async def nothing(life: Life) -> None:
    """Do nothing beforehand."""


def check(life: Life, words: int) -> None:
    kinds = life.enrolment(life.clock()).key_types
    assert len(life.authority.accounts) == 1
    assert len(life.authority.issued) == words * len(kinds)
    assert len([one for one in life.authority.orders if one.certificate]) == len(life.authority.issued)
    assert life.answering.given == []
    with life.store() as store:
        newest = max((s for s in store.slots() if s.source is Source.ACME), key=lambda slot: slot.newness)
        served = [store.bundle(id_) for id_ in newest.bundles]
        assert [one.leaf for one in served] == life.authority.issued[-len(kinds) :]
        assert [KeyType.of(one.leaf.public_key()) for one in served] == list(kinds)
    enrolments = Enrolments(life.root, Disk())
    assert enrolments.load() == ()
    assert (enrolments.renewal.is_asked, enrolments.renewal.failures) == (False, 0)
    assert list((life.root / layout.ORDERS).iterdir()) == []
    names = {one.name for one in (life.root / layout.ACCOUNTS).iterdir()}
    assert names > {"enrolment.json", "renewal.json"}
    assert len(names) == 3
    assert life.told == []


ACTS = [
    (nothing, enrol, 1, None),
    (enrol, renew, 2, None),
    (nothing, enrol, 1, KeyType.RSA2048),
    (enrol, renew, 2, KeyType.RSA2048),
]
BESIDE = pytest.mark.parametrize("beside", [None, KeyType.RSA2048])


@pytest.mark.usefixtures("keys_made")
@pytest.mark.parametrize(("before", "act", "words", "beside"), ACTS)
def test_a_kill_before_any_disk_step_has_it_go_on(monkeypatch, tmp_path, pki, before, act, words, beside):
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, count, died = device(tmp_path / str(at), pki, beside), 0, False

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
            check(life, words)

        run(whole)
        if not died:
            assert at > 20
            return
    raise AssertionError("it never ran through")


@pytest.mark.usefixtures("keys_made")
@pytest.mark.parametrize(("before", "act", "words", "beside"), ACTS)
def test_a_cancellation_at_any_await_has_it_go_on(monkeypatch, tmp_path, pki, before, act, words, beside):
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, stop = device(tmp_path / str(at), pki, beside), Stop(at)
        was_cancelled = False

        async def whole(life=life, stop=stop) -> None:
            nonlocal was_cancelled
            await before(life)
            with trio.CancelScope() as stop.scope:
                await act(life)
            was_cancelled = stop.scope.cancelled_caught
            stop.scope = None
            await act(life)
            check(life, words)

        run(whole, stop)
        if not was_cancelled and stop.seen < at:
            assert at > 40
            return
    raise AssertionError("it never ran through")


def refuse(life: Life, kind: KeyType | None) -> None:
    """Have the authority issue nothing for keys of this kind."""
    life.authority.judging = lambda request: (
        says(400, "badCSR") if KeyType.of(request.public_key()) is kind else None
    )


async def stands_alone(life: Life, kind: KeyType) -> None:
    """One of both stands, and was issued once; only the other is wanted still."""
    (came,) = life.authority.issued
    assert KeyType.of(came.public_key()) is not kind
    with life.store() as store:
        (slot,) = (slot for slot in store.slots() if slot.source is Source.ACME)
        assert [store.bundle(id_).leaf for id_ in slot.bundles] == [came]
    enrolments = Enrolments(life.root, Disk())
    assert enrolments.load() == ()
    assert (enrolments.renewal.lacking, enrolments.renewal.is_asked) == (kind, False)


async def the_other_comes(life: Life) -> None:
    """Have the other, which isn't refused any more."""
    refuse(life, None)
    with life.store() as store:
        with trio.move_on_after(2 * 86_400):
            await life.keeper(store).run()


def came_once(life: Life) -> None:
    """Each was issued once, and is served."""
    life.told.clear()
    leaves = life.authority.issued
    life.authority.issued = sorted(leaves, key=lambda leaf: KeyType.of(leaf.public_key()).is_rsa)
    check(life, 1)


@pytest.mark.usefixtures("keys_made")
@pytest.mark.parametrize("kind", [KeyType.EC, KeyType.RSA2048])
def test_a_kill_before_any_disk_step_costs_nothing_of_what_came_of_one(monkeypatch, tmp_path, pki, kind):
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, count, died = device(tmp_path / str(at), pki, KeyType.RSA2048), 0, False
        refuse(life, kind)

        def strike(step: str, path: Path, at=at) -> None:
            nonlocal count
            count += 1
            if count >= at:
                raise Killed

        async def whole(life=life, strike=strike) -> None:
            nonlocal died
            life.disk = Disk(strike)
            try:
                await enrol(life)
            except BaseException as error:
                if not is_of(error, Killed):
                    raise
                died = True
            life.disk = Disk()
            life.answering.given.clear()
            await enrol(life)
            await stands_alone(life, kind)
            await the_other_comes(life)
            came_once(life)

        run(whole)
        if not died:
            assert at > 20
            return
    raise AssertionError("it never ran through")


@pytest.mark.usefixtures("keys_made")
@pytest.mark.parametrize("kind", [KeyType.EC, KeyType.RSA2048])
def test_a_kill_before_any_disk_step_costs_nothing_when_the_other_comes(monkeypatch, tmp_path, pki, kind):
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, count, died = device(tmp_path / str(at), pki, KeyType.RSA2048), 0, False
        refuse(life, kind)

        def strike(step: str, path: Path, at=at) -> None:
            nonlocal count
            count += 1
            if count >= at:
                raise Killed

        async def whole(life=life, strike=strike) -> None:
            nonlocal died
            await enrol(life)
            life.disk = Disk(strike)
            try:
                await the_other_comes(life)
            except BaseException as error:
                if not is_of(error, Killed):
                    raise
                died = True
            life.disk = Disk()
            life.answering.given.clear()
            await the_other_comes(life)
            came_once(life)

        run(whole)
        if not died:
            assert at > 20
            return
    raise AssertionError("it never ran through")


@pytest.mark.usefixtures("keys_made")
@pytest.mark.parametrize("kind", [KeyType.EC, KeyType.RSA2048])
def test_a_cancellation_at_any_await_costs_nothing_of_what_came_of_one(monkeypatch, tmp_path, pki, kind):
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, stop = device(tmp_path / str(at), pki, KeyType.RSA2048), Stop(at)
        refuse(life, kind)
        was_cancelled = False

        async def whole(life=life, stop=stop, kind=kind) -> None:
            nonlocal was_cancelled
            with trio.CancelScope() as stop.scope:
                await enrol(life)
            was_cancelled = stop.scope.cancelled_caught
            stop.scope = None
            await enrol(life)
            await stands_alone(life, kind)
            await the_other_comes(life)
            came_once(life)

        run(whole, stop)
        if not was_cancelled and stop.seen < at:
            assert at > 40
            return
    raise AssertionError("it never ran through")


@BESIDE
@pytest.mark.usefixtures("keys_made")
def test_whoever_asks_again_at_any_await_gets_one_certificate(monkeypatch, tmp_path, pki, beside):
    """The same words a second time, while the first are under way: one lets go, the other goes on."""
    in_virtual_time(monkeypatch)
    for at in range(1, MOST):
        life, stop = device(tmp_path / str(at), pki, beside), Stop(at)
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
