"""SIGKILL before every disk step of what lies in `authority/`: each key is there, whole, or gone for good."""

from __future__ import annotations

from pathlib import Path

from certstore.atomic import Disk
from certstore.authority import read_authority
from certstore.bundle import spki_of
from certstore.issuers import deviceca
from certstore.issuers.selfsigned import Identity
from certstore.requesting import Wish
from certstore.requests import Request, read_key
from certstore.store import Store
from tests.crash import stopping
from tests.crash.stopping import on_probation
from tests.crash.test_killed import assert_one_turn, kill, put, template
from tests.crash.test_killed_going_back import outcomes, put_on_probation
from tests.crash.wholeness import TOLD, assert_consistent
from tests.pki import Issued, Pki
from tests.requesting import sign
from tests.storing import half_done

__all__ = ["kill", "template"]  # fixtures


def ask(root: Path, **wish: object) -> Request:
    with on_probation(root, Disk()) as store:
        return store.requests.make(Wish(("device.test",), **wish), via="before")  # type: ignore[arg-type]


def answer_to(root: Path, request: Request, pki: Pki, days: float = 90) -> Issued:
    """Give the answer with its key, as the store puts both together."""
    certificate = sign(pki, request.pem, days=days)
    return Issued(read_key(root, request), certificate, (pki.intermediate,))  # type: ignore[arg-type]


def waiting(root: Path) -> list[str]:
    """Open a store, see that no request there is half of one, and give those that wait."""
    with on_probation(root, Disk()) as store:
        assert {finding.code for finding in store.recovered} <= TOLD
        assert half_done(root) == []
        on_disk = {path.name for path in root.glob("authority/csr/*")}
        assert on_disk == {one.id for one in store.requests.all()}
        for one in store.requests.all():
            key = store.known_key(one.spki)
            assert key is not None
            assert spki_of(key.public_key()) == one.spki
        return sorted(on_disk)


def assert_whole_with_requests(root: Path, pki: Pki) -> None:
    with Store.open(root, clock=stopping.now) as store:
        assert_consistent(store)


def test_killed_while_a_request_is_made_it_is_there_with_its_key_or_not_at_all(kill, template, pki):
    put(template, pki.leaf())
    before = ask(template)
    steps, roots = kill(stopping.make_request, template)
    assert len(steps) > 8
    counts = [len(waiting(root)) for root in roots]
    turn = counts.index(2)
    assert counts == [1] * turn + [2] * (len(counts) - turn)
    assert steps[turn - 1].startswith("rename ")
    assert all(before.id in waiting(root) for root in roots)


def test_killed_while_a_request_is_removed_its_key_is_there_or_gone_for_good(kill, template, pki):
    put(template, pki.leaf())
    ask(template)
    steps, roots = kill(stopping.remove_request, template)
    assert len(steps) > 4
    counts = [len(waiting(root)) for root in roots]
    turn = counts.index(0)
    assert counts == [1] * turn + [0] * (len(counts) - turn)
    for root in roots[turn:]:
        assert list(root.glob("authority/csr/**/key.pem")) == []


def test_killed_while_the_answer_goes_live_its_key_is_never_lost(kill, template, pki):
    old = put(template, pki.leaf())
    request = ask(template)
    issued = answer_to(template, request, pki)
    steps, roots = kill(stopping.propose, template, issued)
    new = issued.bundle().id
    assert f"rename {new}.json" in steps  # what was asked for is kept
    for root in roots:
        with on_probation(root, Disk()) as store:
            assert store.known_key(request.spki) is not None
            active = store.active
            assert active is not None
            is_live = active.default == new
            assert store.requests.all() == (() if is_live else (request,))
        assert waiting(root) == ([] if is_live else [request.id])
    turn = assert_one_turn(outcomes(roots, pki, {old, new}), old, new)
    assert steps[turn - 1] == "rename active"


def test_killed_while_the_answer_is_confirmed_it_waits_or_is_done(kill, template, pki):
    put(template, pki.leaf())
    request = ask(template)
    put_on_probation(template, answer_to(template, request, pki))
    steps, roots = kill(stopping.confirm, template)
    assert len(steps) > 10
    states = [bool(waiting(root)) for root in roots]
    turn = states.index(False)
    assert states == [True] * turn + [False] * (len(states) - turn)
    assert turn > 1


def test_killed_while_it_goes_back_from_probation_the_request_waits(kill, template, pki):
    put(template, pki.leaf())
    request = ask(template)
    put_on_probation(template, answer_to(template, request, pki))
    _, roots = kill(stopping.end_probation, template)
    for root in roots:
        assert waiting(root) == [request.id]


def test_killed_while_a_successor_is_asked_for_there_is_one_request_in_the_end(kill, template, pki):
    request = ask(template)
    put(template, answer_to(template, request, pki, days=0.055))  # one hour of 1.32 is over
    steps, roots = kill(stopping.prepare_request, template)
    assert len(steps) > 10
    for root in roots:
        with on_probation(root, Disk()) as store:
            store.requests.prepare()
            assert len(store.requests.all()) == 1
            assert store.requests.prepare() is None
        assert_whole_with_requests(root, pki)


def test_killed_while_the_devices_own_authority_is_made_anew_it_is_the_old_one_or_the_new(
    kill, template, pki
):
    put(template, pki.leaf())
    with on_probation(template, Disk()) as store:
        wanted = Identity(("device.test",), "", "device.test")
        old = deviceca.make(wanted.names, wanted, stopping.now())
        store.device_ca.keep(old)
    steps, roots = kill(stopping.renew_authority, template)
    assert "rename ca.pem" in steps
    assert "rename exported" in steps
    found = [read_authority(root) for root in roots]  # each proved to be whole
    assert all(one is not None and one.spki == old.spki for one in found)
    is_old = [one is not None and one.certificate == old.certificate for one in found]
    turn = is_old.index(False)
    assert is_old == [True] * turn + [False] * (len(is_old) - turn)
    assert steps[turn - 1] == "rename ca.pem"
    for root in roots:
        assert waiting(root) == []
