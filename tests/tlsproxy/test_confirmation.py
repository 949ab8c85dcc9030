"""The keeper of probations: what nobody confirms goes back when its time is over, and is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio
import trio.lowlevel
import trio.testing

from certstore import BootTime, InProcess, Receipt, Source, State, Store, StoreNotWritable
from tests.controlling import now
from tests.pki import Pki
from tests.storing import candidate_of
from tlsproxy import policy
from tlsproxy.confirmation import ProbationKeeper

DEADLINE_S = 30
NAMES = ("device.test",)


class Boot:
    """A boot clock that the test owns."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> BootTime:
        return BootTime("this-boot", self.seconds)


def propose(store: Store, pki: Pki, within_s: float | None = None) -> Receipt:
    return store.propose(
        candidate_of(pki.leaf(NAMES)),
        source=Source.CUSTOMER,
        via="test",
        examiner=InProcess(),
        confirm_within_s=within_s,
    )


async def wait_told(told: list[Receipt], count: int) -> None:
    while len(told) < count:
        await trio.lowlevel.checkpoint()


async def test_what_nobody_confirms_goes_back_when_its_time_is_over_and_is_told(
    tmp_path: Path, pki: Pki, nursery: trio.Nursery
) -> None:
    boot, told = Boot(), list[Receipt]()
    with trio.fail_after(DEADLINE_S), Store.open(tmp_path / "s", clock=now, boot_clock=boot) as store:
        keeper = ProbationKeeper(store)
        nursery.start_soon(keeper.run, told.append)
        first = propose(store, pki)
        second = propose(store, pki, within_s=600)
        keeper.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert not told
        boot.seconds += 600
        keeper.wake()
        await wait_told(told, 1)
        assert (told[0].id, told[0].state) == (second.id, State.ROLLED_BACK)
        assert [slot.bundle for slot in store.slots()] == [first.bundle]
        nursery.cancel_scope.cancel()


async def test_it_looks_when_the_first_one_ends_without_being_woken(
    tmp_path: Path, pki: Pki, autojump_clock: trio.testing.MockClock
) -> None:
    boot, told = Boot(), list[Receipt]()
    with Store.open(tmp_path / "s", clock=now, boot_clock=boot) as store:
        propose(store, pki)
        propose(store, pki, within_s=5)
        boot.seconds += 4.9
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ProbationKeeper(store).run, told.append)
            with trio.move_on_after(1):
                await trio.sleep(0.5)
            boot.seconds += 0.1
            # the jumping clock doesn't wait for threads: give the one that goes back the time it takes
            while not told:
                await trio.to_thread.run_sync(partial(store.probation_ends_in_s))
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert told[0].state is State.ROLLED_BACK


async def test_where_going_back_fails_it_is_tried_again(
    tmp_path: Path, pki: Pki, nursery: trio.Nursery, monkeypatch
) -> None:
    monkeypatch.setattr(policy, "PROBATION_RETRY_S", 0.01)
    boot, told, tries = Boot(), list[Receipt](), list[int]()
    with trio.fail_after(DEADLINE_S), Store.open(tmp_path / "s", clock=now, boot_clock=boot) as store:
        propose(store, pki)
        propose(store, pki, within_s=5)
        boot.seconds += 5
        end = store.end_probation

        def fail_twice() -> tuple[Receipt, ...]:
            tries.append(1)
            if len(tries) < 3:
                raise StoreNotWritable(tmp_path, "no space left on device")
            return end()

        monkeypatch.setattr(store, "end_probation", fail_twice)
        nursery.start_soon(ProbationKeeper(store).run, told.append)
        await wait_told(told, 1)
        assert len(tries) == 3
        nursery.cancel_scope.cancel()
