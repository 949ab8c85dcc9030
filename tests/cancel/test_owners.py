"""Owners of threads and loops, cancelled while they work: nothing hangs, and a change is never cut in two."""

from __future__ import annotations

import threading
from collections.abc import Collection

import trio

from certstore import Bundle, Candidate, Generation, Source, State, Store
from tests.controlling import controller_of, now


class SlowPublisher:
    """A publisher that holds every change until the test lets it go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def prepare(self, _generation: Generation) -> None:
        self.begun.set()
        assert self.go.wait(10)

    def commit(self, _generation: Generation) -> None:
        pass

    def end(self, _bundles: Collection[str], _why: str) -> None:
        pass


def noting(told: list[State]):
    return lambda receipt: told.append(receipt.state)


async def cancelled_amidst(publisher: SlowPublisher, act) -> None:
    """Run `act`, cancel it while its change is being published, and let the change go on only then."""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(act)
            while not publisher.begun.is_set():
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
            trio.lowlevel.current_trio_token().run_sync_soon(publisher.go.set)


async def test_an_import_cancelled_amidst_its_change_is_whole_and_told(tmp_path, pki):
    publisher = SlowPublisher()
    told: list[State] = []
    with Store.open(tmp_path / "s", clock=now, publisher=publisher) as store:
        issued = pki.leaf()
        candidate = Candidate((("x.pem", issued.chain_pem + issued.key_pem),))

        async def act() -> None:
            await controller_of(store, lambda receipt: told.append(receipt.state)).propose(
                candidate, "import"
            )

        await cancelled_amidst(publisher, act)
        assert told == [State.CONFIRMED]
        assert store.active is not None
        assert store.receipts()[0].state is State.CONFIRMED


async def test_our_own_certificate_proposed_in_a_thread_while_all_is_cancelled_is_whole_and_told(
    tmp_path, pki
):
    publisher = SlowPublisher()
    told: list[State] = []
    with Store.open(tmp_path / "s", clock=now, publisher=publisher) as store:
        bundle: Bundle = pki.leaf().bundle()

        async def act() -> None:
            await trio.to_thread.run_sync(
                controller_of(store, lambda receipt: told.append(receipt.state)).propose_own, bundle
            )

        await cancelled_amidst(publisher, act)
        assert told == [State.CONFIRMED]
        assert [slot.source for slot in store.slots()] == [Source.GENERATED]
