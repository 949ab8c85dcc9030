"""SIGKILL before every single disk step: the next start serves the old bundle or the new one, whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.examination import InProcess
from certstore.slots import Source
from certstore.store import Store
from tests.crash import stopping
from tests.crash.wholeness import Outcome, assert_whole

Killed = tuple[list[str], list[Path]]


@pytest.fixture
def kill(tmp_path, pki) -> Callable[..., Killed]:
    """Kill an act before each of its steps; gives the steps, and the stores left; the last is complete."""

    def run(act, template: Path, issued=None) -> Killed:
        issued = issued or pki.leaf()
        target = tmp_path / "killed"
        target.mkdir()
        (tmp_path / "key").write_bytes(issued.key_pem)
        (tmp_path / "chain").write_bytes(issued.chain_pem)
        done = subprocess.run(
            [sys.executable, stopping.__file__, act.__name__]
            + [str(path) for path in (template, target, tmp_path / "key", tmp_path / "chain")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        steps = done.stdout.splitlines()
        return steps, [target / str(k) for k in range(1, len(steps) + 2)]

    return run


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template"
    path.mkdir(mode=0o700)
    return path


def put(root: Path, issued, source=Source.CUSTOMER) -> str:
    with Store.open(root, clock=lambda: datetime.now(UTC)) as store:
        receipt = store.propose(issued.bundle(), source=source, via="before", examiner=InProcess())
    assert receipt.bundle is not None
    return receipt.bundle


def assert_one_turn(outcomes: list[Outcome], old: str | None, new: str) -> int:
    """Up to one step the old is served, from there on the new; gives how often it was the old one."""
    served = [outcome.bundle for outcome in outcomes]
    turn = served.index(new)
    assert served == [old] * turn + [new] * (len(served) - turn)
    assert outcomes[-1].recovered == ()
    return turn


def test_killed_at_any_step_of_a_renewal_the_next_start_serves_the_old_or_the_new_whole(kill, template, pki):
    old, issued = put(template, pki.leaf()), pki.leaf()
    steps, roots = kill(stopping.propose, template, issued)
    assert len(steps) > 12
    new = issued.bundle().id
    turn = assert_one_turn([assert_whole(root, pki, {old, new}) for root in roots], old, new)
    assert steps[turn - 1] == "rename active"  # killed before it: the old one; after it: the new one


def test_killed_at_any_step_of_the_first_start_the_store_is_empty_or_whole(kill, template, pki):
    issued = pki.leaf()
    steps, roots = kill(stopping.open_and_propose, template, issued)
    assert len(steps) > 24
    new = issued.bundle().id
    assert_one_turn([assert_whole(root, pki, {None, new}) for root in roots], None, new)


def test_killed_while_another_source_gets_its_first_slot_the_others_are_untouched(kill, template, pki):
    below, issued = put(template, pki.leaf(), Source.FACTORY), pki.leaf(names=("device.test", "more.test"))
    steps, roots = kill(stopping.propose, template, issued)
    new = issued.bundle().id
    assert_one_turn([assert_whole(root, pki, {below, new}) for root in roots], below, new)
    assert len(steps) > 12


def test_killed_while_it_prunes_nothing_that_is_needed_is_lost(kill, template, pki):
    *_, last = [put(template, pki.leaf()) for _ in range(3)]
    steps, roots = kill(stopping.prune, template)
    assert len(steps) > 6
    for root in roots:
        assert_whole(root, pki, {last})


def test_killed_while_a_bundle_is_described_anew_it_is_served_all_the_same(kill, template, pki):
    issued = pki.leaf()
    bundle = put(template, issued)
    (meta,) = template.glob("bundles/*/meta.json")
    meta.write_bytes(b"{}")
    steps, roots = kill(stopping.prove, template)
    assert "rename meta.json" in steps
    for root in roots:
        assert_whole(root, pki, {bundle})


def test_killed_while_it_recovers_from_having_been_killed_it_recovers_the_next_time(
    kill, template, tmp_path, pki
):
    old, issued = put(template, pki.leaf()), pki.leaf()
    steps, roots = kill(stopping.propose, template, issued)
    worst = roots[steps.index("rename active")]  # everything is there but the last step
    kept = shutil.copytree(worst, tmp_path / "worst")
    shutil.rmtree(tmp_path / "killed")
    steps, roots = kill(stopping.open_it, kept)
    assert len(steps) > 6
    for root in roots:
        assert_whole(root, pki, {old})
