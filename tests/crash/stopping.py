"""Do one thing to a store, killed before its k-th disk step, for k = 1, 2, ... until it runs through.

Run as a program: ACT TEMPLATE TARGET KEY CHAIN. Each run has a copy of the TEMPLATE store in TARGET/k and a
process of its own, forked from this one (which has a single thread, so that forking it is safe), that ends
by SIGKILL: nothing is flushed, closed or undone. Prints for each step what it was.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from certstore import shelf
from certstore.atomic import Disk
from certstore.backup import Backup
from certstore.bans import Reason
from certstore.bundle import Bundle, spki_of
from certstore.decode import Candidate
from certstore.erasure import Reset, Scope
from certstore.examination import InProcess
from certstore.findings import found
from certstore.issuers import csr, deviceca, selfsigned
from certstore.issuers.csr import KeyType, Wanted
from certstore.issuers.selfsigned import Identity
from certstore.probation import BootTime
from certstore.receipts import State
from certstore.requesting import Wish
from certstore.requests import Request
from certstore.slots import Slot, Source
from certstore.store import Store

Arm = Callable[[], None]
WITHIN_S = 600.0
LOST = Reason.KEY_COMPROMISE


def now() -> datetime:
    return datetime.now(UTC)


def open_it(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    arm()
    Store.open(root, clock=now, disk=disk)


def propose(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = Store.open(root, clock=now, disk=disk)
    arm()
    store.propose(bundle, source=Source.CUSTOMER, via="crash", examiner=InProcess())


def propose_beside(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = Store.open(root, clock=now, disk=disk)
    arm()
    store.propose(bundle, source=Source.CUSTOMER, via="crash", examiner=InProcess(), beside=True)


def propose_both(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    """Bring in the bundle, which is RSA, together with an EC one for its names."""
    store = Store.open(root, clock=now, disk=disk)
    other = selfsigned.issue(Identity(bundle.names, "", "both"), selfsigned.new_key(), now())
    files = tuple((one.id, pem) for one in (bundle, other) for pem in (one.key_pem(), one.chain_pem()))
    arm()
    store.propose(Candidate(files), source=Source.CUSTOMER, via="crash", examiner=InProcess())


def open_and_propose(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    arm()
    propose(root, disk, arm, bundle)


def prune(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = Store.open(root, clock=now, disk=disk)
    arm()
    store.prune(keep=0)


def prove(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    shelf.READ_WHOLE = 0  # so that two bundles are many
    store = Store.open(root, clock=now, disk=disk)
    arm()
    store.prove(10)


BOOT = BootTime("of the crash", 100.0)


def on_probation(root: Path, disk: Disk, boot: BootTime = BOOT) -> Store:
    return Store.open(root, clock=now, boot_clock=lambda: boot, disk=disk)


def propose_on_probation(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.propose(
        bundle, source=Source.CUSTOMER, via="crash", examiner=InProcess(), confirm_within_s=WITHIN_S
    )


def confirm(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.confirm(store.probations()[0].receipt, via="crash")


def end_probation(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    times = [BOOT.seconds]
    store = Store.open(
        root,
        clock=now,
        boot_clock=lambda: replace(BOOT, seconds=times[-1]),
        disk=disk,
    )
    times.append(BOOT.seconds + WITHIN_S)
    arm()
    store.end_probation()


def open_after_a_reboot(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    arm()
    on_probation(root, disk, BootTime("of the next start", 1.0))


def roll_back(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.roll_back(store.slots()[0].key, via="crash")


def activate(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.activate(2, via="crash")


def remove(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.remove(store.slots()[0].key, via="crash")


def restore(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    at = now()
    slot = Slot(Source.CUSTOMER, bundle.names, bundle.id, bundle.id, "x", False, "000001-00000000", at, 1)
    arm()
    store.restore(Backup(at, 7, (slot,), (bundle,)), via="crash")


ASKED = Wanted(("waiting.test",), KeyType.EC)


def restore_with_requests(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    """Bring back a slot, a ban, and a request that waits; the bundle's key is the ban's opposite: served."""
    store = on_probation(root, disk)
    at, key, lost = now(), csr.new_key(KeyType.EC), csr.new_key(KeyType.EC)
    slot = Slot(Source.CUSTOMER, bundle.names, bundle.id, bundle.id, "x", False, "000001-00000000", at, 1)
    spki, pem = spki_of(key.public_key()), csr.request(ASKED, key)
    request = Request("0123abcd", ASKED, spki, at, at + timedelta(days=9), "x", 1, None, pem)
    arm()
    banned = (spki_of(lost.public_key()),)
    store.restore(Backup(at, 7, (slot,), (bundle,), banned, ((request, key),)), via="crash")


DEVICE = Identity(("px-1.example",), "PX-1", "px-1")


def request_factory(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    arm()
    Store.open(root, clock=now, disk=disk).factory.request(DEVICE)


def mend_request(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = Store.open(root, clock=now, disk=disk)
    arm()
    store.factory.request(DEVICE, serial="PX-2")


def replace_request(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    """Ask again after the key that waits was banned; nobody says the serial number a second time."""
    store = Store.open(root, clock=now, disk=disk)
    arm()
    store.factory.request(Identity(("other.example",), "PX-other", "other"))


def install_factory(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = Store.open(root, clock=now, disk=disk)
    arm()
    candidate = Candidate((("device.pem", bundle.chain_pem()),))
    assert store.factory.install(candidate, via="crash", examiner=InProcess()).state is State.CONFIRMED


def inbox_of(root: Path) -> Path:
    """A path of its own, beside the store that is copied for each step."""
    return root.with_name(f"inbox of {root.name}")


def reset(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    fill_inbox(root)
    arm()
    store.reset(Reset(frozenset(Scope), bundle, (inbox_of(root),)), via="crash")


def reset_customer(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    fill_inbox(root)
    arm()
    store.reset(Reset(frozenset({Scope.CUSTOMER}), beside=(inbox_of(root),)), via="crash")


def fill_inbox(root: Path) -> None:
    inbox_of(root).joinpath("inner").mkdir(parents=True)
    for name in ("a.pem", "inner/b.pem"):
        inbox_of(root).joinpath(name).write_bytes(b"somebody's")


def enable_watches(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.enable_watches()


def set_aside(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.set_aside([store.slots()[0].bundle])


def refuse(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    receipt = store.refused(Source.CUSTOMER, "crash", (found("nothing_before_removal"),))
    store.remember("/a/path", "digest", receipt.id)


def propose_for_a_lost_key(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = Store.open(root, clock=now, disk=disk)
    arm()
    store.propose(bundle, source=Source.CUSTOMER, via="crash", examiner=InProcess(), reason=LOST)


def trust_an_authority(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = Store.open(root, clock=now, disk=disk)
    arm()
    store.trust.put("plant", [("ca.pem", bundle.chain[0].public_bytes(Encoding.PEM))], via="crash")


def remove_for_a_lost_key(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.remove(store.slots()[0].key, via="crash", reason=LOST)


def ban_the_own_key(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = Store.open(root, clock=now, disk=disk)
    spki = store.meta(store.slots()[0].bundle).spki
    arm()
    store.ban(spki, via="crash", fresh=lambda: bundle)


def make_request(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.requests.make(Wish(("device.test",)), via="crash")


def remove_request(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.requests.remove(store.requests.all()[0].id)


def forget_requests(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.factory.forget_request()
    store.requests.forget()


def prepare_request(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    arm()
    store.requests.prepare()


def replace_authority(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    """Ban the authority's key, and keep another one in its place."""
    store = on_probation(root, disk)
    before = store.device_ca.current()
    assert before is not None
    arm()
    store.ban(before.spki, via="crash")
    wanted = Identity(("device.test",), "", "device.test")
    store.device_ca.keep(deviceca.make(wanted.names, wanted, now()))


def renew_authority(root: Path, disk: Disk, arm: Arm, bundle: Bundle) -> None:
    store = on_probation(root, disk)
    before = store.device_ca.current()
    wanted = Identity(("device.test",), "", "device.test")
    made = deviceca.make(wanted.names, wanted, now(), before)
    arm()
    store.device_ca.keep(made)
    store.device_ca.export()


ACTS = {
    act.__name__: act
    for act in (
        open_it,
        propose,
        open_and_propose,
        prune,
        prove,
        propose_beside,
        propose_both,
        propose_on_probation,
        confirm,
        end_probation,
        open_after_a_reboot,
        roll_back,
        activate,
        remove,
        restore,
        restore_with_requests,
        request_factory,
        mend_request,
        replace_request,
        install_factory,
        reset,
        reset_customer,
        enable_watches,
        set_aside,
        refuse,
        propose_for_a_lost_key,
        trust_an_authority,
        remove_for_a_lost_key,
        ban_the_own_key,
        make_request,
        remove_request,
        forget_requests,
        prepare_request,
        renew_authority,
        replace_authority,
    )
}


class Stop:
    """Kills the process before the k-th step, counted from when it was armed."""

    def __init__(self, at: int, report: int) -> None:
        self.at, self.report = at, report
        self.armed = False
        self.steps = 0

    def arm(self) -> None:
        self.armed = True

    def __call__(self, step: str, path: Path) -> None:
        self.steps += self.armed
        if self.armed and self.steps == self.at:
            os.write(self.report, f"{step} {path.name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def run(act: str, template: Path, root: Path, bundle: Bundle, at: int) -> bool:
    """Run it in a child that dies before step `at`; True when it ran through."""
    shutil.copytree(template, root)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            stop = Stop(at, sys.stdout.fileno())
            ACTS[act](root, Disk(stop), stop.arm, bundle)
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.WIFEXITED(ended):
        if os.WEXITSTATUS(ended):
            raise SystemExit(f"step {at}: failed instead of being killed")
        return True
    return False


def main() -> None:
    act, template, target, key, chain = sys.argv[1:]
    bundle = Bundle.from_pem(Path(key).read_bytes(), Path(chain).read_bytes())
    at = 1
    while not run(act, Path(template), Path(target) / str(at), bundle, at):
        at += 1


if __name__ == "__main__":
    main()
