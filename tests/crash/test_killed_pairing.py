"""SIGKILL before every disk step of bringing in a pair: the next start serves what was there, or both."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from certstore.reading import read_generation
from certstore.store import Store
from tests.crash import stopping
from tests.crash.test_killed import kill, put, template
from tests.crash.wholeness import assert_consistent

__all__ = ["kill", "template"]


def served_after(root: Path) -> tuple[str | None, str | None]:
    """Start on a store that was left, hold it to be whole, and give what its default row has."""
    with Store.open(root, clock=lambda: datetime.now(UTC)) as store:
        assert_consistent(store)
        active = store.active
        assert active is not None
        assert {(row.bundle, row.beside) for row in active.rows} == {(active.default, active.default_beside)}
    assert read_generation(root) == active
    return active.default, active.default_beside


def assert_one_turn(served: list[tuple[str | None, str | None]], old: str) -> tuple[str | None, str | None]:
    turn = served.index(served[-1])
    assert served == [(old, None)] * turn + [served[-1]] * (len(served) - turn)
    assert turn > 0
    return served[-1]


def test_killed_while_one_is_put_beside_another_the_next_start_has_one_or_both(kill, template, pki):
    first, comes = pki.leaf(), pki.leaf(key="rsa")
    old = put(template, first)
    steps, roots = kill(stopping.propose_beside, template, comes)
    assert len(steps) > 12
    assert assert_one_turn([served_after(root) for root in roots], old) == (old, comes.bundle().id)


def test_killed_while_two_come_together_the_next_start_has_neither_or_both(kill, template, pki):
    old, comes = put(template, pki.leaf()), pki.leaf(key="rsa")
    steps, roots = kill(stopping.propose_both, template, comes)
    assert len(steps) > 16
    served = [served_after(root) for root in roots]
    both = [beside is not None for _, beside in served]  # the EC one is made anew for each run
    assert both == sorted(both)
    assert 0 < sum(both) < len(both)
    for first, beside in served:
        assert (first, beside) == (old, None) or (first != old and beside == comes.bundle().id)


def test_killed_while_one_takes_the_place_of_both_the_next_start_has_both_or_it(
    kill, template, tmp_path, pki
):
    put(template, pki.leaf())
    _, roots = kill(stopping.propose_beside, template, pki.leaf(key="rsa"))
    pair = shutil.copytree(roots[-1], tmp_path / "pair")
    both = served_after(pair)
    assert both[1] is not None
    shutil.rmtree(tmp_path / "killed")
    comes = pki.leaf()
    _, roots = kill(stopping.propose, pair, comes)
    served = [served_after(root) for root in roots]
    turn = served.index(served[-1])
    assert served == [both] * turn + [(comes.bundle().id, None)] * (len(served) - turn)
