"""Banned keys beside the slots: in requests, in backups, and in what waits for the manufacturer."""

from __future__ import annotations

import dataclasses

import pytest

from certstore import Identity, InProcess, Refusal, Source, State, Store
from certstore.backup import take_backup
from certstore.factoryrequest import read_waiting
from certstore.findings import found
from certstore.provisioning import factory_slot
from certstore.requesting import MOST, Wish
from tests.manufacturing import answer
from tests.storing import propose, served

DEVICE = Identity(("px-1.devices.example",), "PX-000001", "px-1")
NAMES = Wish(("device.test",))


def codes(refusal):
    return [finding.code for finding in refusal.value.findings]


def waiting_spki(store):
    waiting = read_waiting(store.path)
    assert waiting is not None
    return waiting.spki


def sealed(store):
    slot = factory_slot(store.slots())
    assert slot is not None
    return slot.bundle


@pytest.fixture
def backup(store, pki, clock):
    """Of a store with a customer's certificate, and a request that waits."""
    propose(store, pki.leaf())
    store.requests.make(NAMES, via="test")
    return take_backup(store.path, clock())


@pytest.fixture
def other(tmp_path, clock, publisher):
    with Store.open(tmp_path / "other", clock=clock, publisher=publisher) as other:
        yield other


def test_a_banned_key_is_not_asked_for_again_by_a_renewal_with_the_same_key(store, pki):
    propose(store, pki.leaf(names=("own.test",), issuer=None), Source.GENERATED)
    lost = pki.leaf()
    propose(store, lost)
    store.ban(lost.bundle().spki, via="test")
    (key,) = (slot.key for slot in store.slots() if slot.bundle == lost.bundle().id)
    with pytest.raises(Refusal) as refusal:
        store.requests.make(Wish(renews=key, same_key=True), via="test")
    assert codes(refusal) == ["key_banned"]
    assert store.requests.make(Wish(renews=key), via="test").spki != lost.bundle().spki


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_request_with_a_banned_key_does_not_come_back_with_a_backup(other, backup, pki, where):
    ((request, _),) = backup.requests
    if where == "here":
        propose(other, pki.leaf(names=("own.test",), issuer=None), Source.GENERATED)
        other.ban(request.spki, via="test")
    else:
        backup = dataclasses.replace(backup, banned=(request.spki,))
    assert other.restore(backup, via="test").state is State.CONFIRMED
    assert other.requests.all() == ()
    assert other.is_banned(request.spki)


def test_a_backup_that_workers_refuse_leaves_no_request_behind(other, backup, publisher):
    def refuse(_generation):
        raise Refusal(found("prepare_failed", why="no"))

    publisher.during = refuse
    mine = other.requests.make(NAMES, via="test")
    assert other.restore(backup, via="test").state is State.REFUSED
    assert other.requests.all() == (mine,)


def test_a_backup_does_not_bring_more_requests_than_may_wait(other, backup):
    for _ in range(MOST):
        other.requests.make(NAMES, via="test")
    receipt = other.restore(backup, via="test")
    assert (receipt.state, receipt.codes[-1], served(other)) == (State.REFUSED, "requests_full", None)
    assert len(other.requests.all()) == MOST


def test_a_manufacturers_request_whose_key_is_banned_is_made_anew_with_another(store, pki):
    propose(store, pki.leaf(names=("own.test",), issuer=None), Source.GENERATED)
    first = store.factory.request(DEVICE)
    lost = waiting_spki(store)
    store.ban(lost, via="test")
    second = store.factory.request(DEVICE)
    assert waiting_spki(store) != lost
    assert (second.serial, second.names) == (first.serial, first.names)
    assert store.factory.request(DEVICE) == second


def test_a_device_whose_sealed_key_is_banned_can_be_provisioned_with_another(store, pki):
    propose(store, pki.leaf(names=("own.test",), issuer=None), Source.GENERATED)
    install(store, answer(pki, store.factory.request(DEVICE).request))
    lost = store.bundle(sealed(store)).spki
    store.ban(lost, via="test")
    asked = store.factory.request(DEVICE, unsafe_reseal=True)
    assert store.factory.request(DEVICE, unsafe_reseal=True).request == asked.request
    receipt = install(store, answer(pki, asked.request), unsafe_reseal=True)
    assert (receipt.state, receipt.bundle) == (State.CONFIRMED, sealed(store))
    assert store.bundle(receipt.bundle).spki != lost
    assert read_waiting(store.path) is None


def install(store, candidate, **more):
    return store.factory.install(candidate, via="line", examiner=InProcess(), **more)
