"""Changes of a running proxy, cancelled at every step of their task: whole or not begun, and told true."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from certstore import BootTime, InProcess, Receipt, Source, State, Store
from certstore.inbox import Inbox
from certstore.snapshot import Kind
from tests.controlling import controller_of, now, resetter_of
from tests.crash.wholeness import assert_consistent
from tests.storing import candidate_of, served
from tlsproxy.control.peers import Peer
from tlsproxy.controller import Controller

PEER = Peer(1, 0, 0)
BOOT = BootTime("of the test", 1.0)


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task is about to take its k-th step."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.task: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def cancelled_at(at: int, act: Callable[[], Awaitable[object]]) -> bool:
    """Run it in a task of its own, cancelled at its step `at`; True when it had ended before."""
    cancelling = CancelAt(at)

    async def run() -> None:
        cancelling.task = trio.lowlevel.current_task()
        with cancelling.scope:
            await act()

    trio.lowlevel.add_instrument(cancelling)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
    finally:
        trio.lowlevel.remove_instrument(cancelling)
    return cancelling.left > 0


Act = Callable[[Controller, Any], Awaitable[object]]


async def import_(controller: Controller, pki: Any) -> object:
    return await controller.propose(candidate_of(pki.leaf()), "test", by=PEER)


async def import_on_probation(controller: Controller, pki: Any) -> object:
    return await controller.propose(candidate_of(pki.leaf()), "test", by=PEER, confirm_within_s=600)


async def confirm(controller: Controller, _pki: Any) -> object:
    id_ = controller.store.probations()[0].receipt
    return await controller.change("confirm", partial(Store.confirm, receipt_id=id_, via="test"), PEER)


async def roll_back(controller: Controller, _pki: Any) -> object:
    key = controller.store.slots()[0].key
    return await controller.change("roll_back", partial(Store.roll_back, key=key, via="test"), PEER)


async def remove(controller: Controller, _pki: Any) -> object:
    key = controller.store.slots()[0].key
    return await controller.change("remove", partial(Store.remove, key=key, via="test"), PEER)


async def activate(controller: Controller, _pki: Any) -> object:
    return await controller.change("activate", partial(Store.activate, number=2, via="test"), PEER)


async def reset(controller: Controller, _pki: Any) -> object:
    folder = controller.config.inbox
    folder.mkdir(exist_ok=True)
    inbox = Inbox(
        store=controller.store,
        path=folder,
        kind=Kind.INBOX,
        source=Source.CUSTOMER,
        via="inbox",
        examiner=InProcess(),
        clock=now,
        on_receipt=controller.tell,
    )
    return await resetter_of(controller, [inbox]).reset(["customer", "identity"], "test", PEER)


def fill(root: Path, pki: Any) -> None:
    with Store.open(root, clock=now, boot_clock=lambda: BOOT) as store:
        for bundle, source, within_s in (
            (pki.leaf(names=("own.test",), issuer=None).bundle(), Source.GENERATED, None),
            (pki.leaf().bundle(), Source.CUSTOMER, None),
            (pki.leaf().bundle(), Source.CUSTOMER, 600.0),
        ):
            store.propose(
                bundle, source=source, via="before", examiner=InProcess(), confirm_within_s=within_s
            )


@pytest.mark.parametrize(
    "act",
    [import_, import_on_probation, confirm, roll_back, remove, activate, reset],
    ids=lambda act: act.__name__,
)
async def test_a_change_cancelled_at_any_step_of_its_task_is_whole_or_has_not_begun(tmp_path, pki, act: Act):
    template, ended, at = tmp_path / "template", False, 0
    fill(template, pki)
    for at in range(1, 200):
        root = tmp_path / str(at)
        shutil.copytree(template, root)
        told: list[Receipt] = []
        with Store.open(root, clock=now, boot_clock=lambda: BOOT) as store:
            before = (store.active, store.slots(), len(store.receipts()))
            ended = await cancelled_at(at, partial(act, controller_of(store, told.append), pki))
            after = (store.active, store.slots(), len(store.receipts()))
            # whatever happened is told, once, as it is
            if after == before:
                assert not ended
                assert told == []
            else:
                assert [one.state for one in told] in ([State.CONFIRMED], [State.LIVE])
                assert store.receipt(told[0].id) == told[0]
            assert served(store) is not None
            assert_consistent(store)
            audited = root / "audit.jsonl"
            assert audited.exists() == bool(told)
        with Store.open(root, clock=now, boot_clock=lambda: BOOT) as store:
            assert store.recovered == ()
            assert_consistent(store)
        if ended:
            break
        shutil.rmtree(root)
    assert ended
    assert at > 2
