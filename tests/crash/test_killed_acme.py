"""An ACME order that is killed at every await and every disk step, and what the next start makes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest
import trio
import trio.testing

from certstore import layout
from certstore.atomic import Disk
from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.errors import AcmeError
from certstore.issuers.acme.wishes import Issued, Wish
from tests.authorities.answering import Recorder
from tests.authorities.scripted import Scripted, unscripted
from tests.authorities.store import open_issuer

WISH = Wish(("*.device.test", "device.test"))
MOST = 3000
T = TypeVar("T")


def unseen(name: str, whole: str) -> bool:
    """Whom `answered` hasn't joined to an authority yet, nobody asks."""
    return False


class Killed(BaseException):
    """The end of a process, as far as this one can have it: nobody catches it, and nothing is tidied up."""


class Stop(trio.abc.Instrument):
    """Ends a run at its n-th step of the loop."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0
        self.scope: trio.CancelScope | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is not None:
            self.seen += 1
            if self.seen == self.at:
                self.scope.cancel()


def run(steps: Callable[[], Awaitable[T]], *instruments: trio.abc.Instrument) -> T:
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(steps, clock=clock, instruments=instruments)


def answered(authority: Scripted, root: Path, disk: Disk | None = None):
    """Give what brings an order to its end, with answers that last as long as the process."""
    answering = Recorder()
    authority.sees = lambda name, whole: (
        (name, whole) in [(a.name, a.key_authorization) for a in answering.given]
    )
    issuer = open_issuer(root, authority, disk=disk)

    async def issue() -> Issued:
        await issuer.register(authority.server, terms_agreed=True)
        answerers = {Challenge.DNS_01: answering}
        issued = await issuer.issue(authority.server, WISH, answerers)
        assert answering.given == []
        return issued

    return issue


def check(authority: Scripted, issued: Issued, root: Path) -> None:
    """One account, one certificate, of a key that lies on the disk for us alone; nothing left over."""
    assert len(authority.accounts) == 1
    assert authority.issued == [issued.leaf]
    assert issued.key.public_key() == issued.leaf.public_key()
    finalized = [one for one in authority.orders if one.certificate]
    assert len(finalized) == 1
    files = [one for one in (root / layout.AUTHORITY).rglob("*") if one.is_file()]
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in files)
    assert len(list((root / layout.ORDERS).iterdir())) == 1
    assert len(list((root / layout.ACCOUNTS).iterdir())) == 1


def tidy(root: Path) -> None:
    """Remove what a crash left half done, as the store's start does."""
    for folder in layout.folders():
        Disk().clear_aside(root / folder)


def test_an_order_that_is_cancelled_at_any_await_goes_on(tmp_path, pki):
    """Also one that would cancel while it withdraws, or tells the disk: each step of the loop is one run."""
    for at in range(1, MOST):
        root, authority, stop = tmp_path / str(at), Scripted(pki, unseen), Stop(at)
        stop_at = stop

        async def first(authority=authority, root=root, stop=stop_at) -> bool:
            issue = answered(authority, root)
            with trio.CancelScope() as stop.scope:
                await issue()
            return bool(stop.scope.cancelled_caught)

        was_cancelled = run(first, stop)
        tidy(root)
        check(authority, run(answered(authority, root)), root)
        if not was_cancelled and stop.seen < at:
            assert at > 40
            return
    raise AssertionError("it never ran through")


def test_an_order_that_is_killed_before_any_disk_step_goes_on(tmp_path, pki):
    for at in range(1, MOST):
        root, authority = tmp_path / str(at), Scripted(pki, unseen)
        count = 0

        def before(step: str, path: Path, at=at) -> None:
            nonlocal count
            count += 1
            if count >= at:  # nor does anything come after it
                raise Killed

        died = False
        try:
            run(answered(authority, root, Disk(before)))
        except BaseException as error:
            if not is_of(error, Killed):
                raise
            died = True
        tidy(root)
        check(authority, run(answered(authority, root)), root)
        if not died:
            assert at > 20
            return
    raise AssertionError("it never ran through")


@pytest.mark.parametrize("is_told", [True, False])
def test_an_order_whose_authority_falls_silent_at_any_request_goes_on(tmp_path, pki, is_told):
    """The request was lost, or its answer: nobody here can tell which."""
    for at in range(1, MOST):
        root, authority = tmp_path / str(at), Scripted(pki, unseen)
        count = 0

        def silent(method: str, path: str, at=at) -> None:
            nonlocal count
            count += 1
            if count >= at:
                raise httpx2.ReadError("gone")

        setattr(authority, "after" if is_told else "script", silent)
        try:
            run(answered(authority, root))
        except AcmeError as error:
            assert error.code == "acme_unreachable"  # noqa: PT017
        else:
            assert at > 10
            return
        authority.script = authority.after = unscripted
        check(authority, run(answered(authority, root)), root)
    raise AssertionError("it never ran through")


def is_of(error: BaseException, kind: type[BaseException]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(is_of(one, kind) for one in error.exceptions)
    return isinstance(error, kind)
