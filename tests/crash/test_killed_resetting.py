"""SIGKILL before every disk step of a reset: it has not begun, or the next start completes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from certstore.erasure import Reset, Scope
from certstore.examination import InProcess
from certstore.receipts import State
from certstore.slots import Source
from certstore.store import Store
from tests.crash import stopping
from tests.crash.test_killed import assert_one_turn, kill, put, template
from tests.crash.test_killed_going_back import next_boot, outcomes, put_on_probation, same_boot
from tests.pki import Issued
from tests.storing import files_under, served

__all__ = ["kill", "template"]  # fixtures

ACCOUNT = "authority/accounts/key.pem"
OWN_CA = "authority/device-ca/key.pem"


def furnish(template: Path, pki, *, factory: bool) -> tuple[str, list[Issued]]:
    """A device with a history: gives what it serves, and whose keys must be gone after a reset."""
    if factory:
        put(template, pki.leaf(), Source.FACTORY)
    own = pki.leaf(names=("own.test",), issuer=None)
    put(template, own, Source.GENERATED)
    mine = [pki.leaf() for _ in range(2)]
    put(template, mine[0])
    last = put(template, mine[1])
    others = pki.leaf(names=("b.test",))
    put(template, others, Source.ACME)
    with Store.open(template, clock=stopping.now) as store:
        store.remember("/a/path", "digest", store.receipts()[0].id)
    for name in (ACCOUNT, OWN_CA):
        path = template / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"secret")
    return last, [*mine, others, own]


def holds(root: Path, secrets: list[bytes]) -> list[str]:
    """Which files still hold any of these."""
    files = files_under(root).items()
    return [name for name, content in files if content and any(secret in content for secret in secrets)]


@pytest.mark.slow
def test_killed_at_any_step_of_a_reset_it_has_not_begun_or_the_next_start_completes_it(kill, template, pki):
    old, erased = furnish(template, pki, factory=True)
    own = pki.leaf(names=("new.test",), issuer=None)
    keys = [issued.bundle().key_pem() for issued in erased]
    with Store.open(template, clock=stopping.now) as store:
        before = {receipt.id for receipt in store.receipts()}
    steps, roots = kill(stopping.reset, template, own)
    assert len(steps) > 40
    after = []
    for root in roots:
        inbox = stopping.inbox_of(root)
        with Store.open(root, clock=stopping.now, boot_clock=same_boot) as store:
            done = store.watches_suspended
            after.append(done)
            sources = {slot.source for slot in store.slots()}
            assert sources == {Source.FACTORY, Source.GENERATED} or not done
            assert (Source.CUSTOMER in sources) == (not done)
            told = [one for one in store.receipts() if one.cause == "reset"]
            assert [one.state for one in told] == ([State.CONFIRMED] if done else [State.REFUSED] * len(told))
            assert store.handled("/a/path", "digest") is None or not done
            numbers = store._archive.numbers()
            if done:
                assert len(numbers) == 1
                assert {receipt.id for receipt in store.receipts()} - before == {told[0].id}
                assert len(store.receipts()) == 2
        assert bool(holds(root, keys)) == (not done)
        assert (root / ACCOUNT).exists() == (root / OWN_CA).exists() == (not done)
        assert (sorted(inbox.iterdir()) == []) == done
        assert not (root / "reset.json").exists()
    turn = after.index(True)
    assert after == [False] * turn + [True] * (len(after) - turn)
    assert steps[turn - 1] == "rename active"
    with Store.open(roots[-1], clock=stopping.now) as store:
        new = {slot.bundle for slot in store.slots()}
    outcomes(roots, pki, {old, *new})


def test_killed_while_only_the_customers_goes_the_identity_stays(kill, template, pki):
    old, erased = furnish(template, pki, factory=False)
    *theirs, own = (issued.bundle() for issued in erased)
    steps, roots = kill(stopping.reset_customer, template)
    turn = assert_one_turn(
        [
            one if one.bundle != own.id else type(one)(one.bundle, ())
            for one in outcomes(roots, pki, {old, own.id, theirs[2].id})
        ],
        old,
        own.id,
    )
    assert steps[turn - 1] == "rename active"
    assert not holds(roots[-1], [one.key_pem() for one in theirs])
    assert (roots[-1] / OWN_CA).exists()


def test_a_reset_ends_what_is_in_probation_whatever_step_it_was_killed_at(kill, template, pki):
    put(template, pki.leaf(names=("own.test",), issuer=None), Source.GENERATED)
    confirmed = put(template, pki.leaf())
    put_on_probation(template, pki.leaf())
    own = pki.leaf(names=("new.test",), issuer=None)
    _, roots = kill(stopping.reset, template, own)
    outcomes(roots, pki, {confirmed, own.bundle().id}, next_boot)


def test_killed_while_it_completes_a_reset_it_completes_it_the_next_time(kill, template, tmp_path, pki):
    _, erased = furnish(template, pki, factory=True)
    keys = [issued.bundle().key_pem() for issued in erased]
    own = pki.leaf(names=("new.test",), issuer=None)
    steps, roots = kill(stopping.reset, template, own)
    worst = roots[steps.index("rename active") + 1]
    assert holds(worst, keys)
    (tmp_path / "kept").mkdir()
    kept = worst.rename(tmp_path / "kept" / "worst")
    (tmp_path / "killed").rename(tmp_path / "first")
    steps, roots = kill(stopping.open_it, kept)
    assert len(steps) > 20
    for root in roots:
        with Store.open(root, clock=stopping.now) as store:
            assert [slot.source for slot in store.slots()] == [Source.FACTORY, Source.GENERATED]
            assert store.watches_suspended
        assert not holds(root, keys)


def test_killed_while_watches_are_enabled_they_are_suspended_or_not(kill, template, pki):
    furnish(template, pki, factory=True)
    with Store.open(template, clock=stopping.now) as store:
        own = pki.leaf(issuer=None).bundle()
        store.reset(Reset(frozenset(Scope), own), via="before")
    steps, roots = kill(stopping.enable_watches, template)
    states = []
    for root in roots:
        with Store.open(root, clock=stopping.now) as store:
            states.append(store.watches_suspended)
    assert states == [True, False, False]
    assert steps == ["unlink suspended.json", f"sync_folder {roots[1].name}"]


def test_killed_while_a_bundle_is_set_aside_the_next_start_serves_what_it_can(kill, template, pki):
    own = put(template, pki.leaf(issuer=None), Source.GENERATED)
    mine = put(template, pki.leaf())
    steps, roots = kill(stopping.set_aside, template)
    assert len(steps) > 6
    # nothing is set aside beyond a start: it is tried again
    outcomes(roots, pki, {own, mine})


def test_killed_while_a_refusal_is_written_down_nothing_that_is_served_changes(kill, template, pki):
    mine = put(template, pki.leaf())
    steps, roots = kill(stopping.refuse, template)
    assert len(steps) >= 8
    outcomes(roots, pki, {mine})
    for root in roots:
        with Store.open(root, clock=stopping.now) as store:
            assert served(store) is not None
            store.propose(pki.leaf().bundle(), source=Source.CUSTOMER, via="x", examiner=InProcess())
