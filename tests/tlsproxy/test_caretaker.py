"""The caretaker: a certificate of the device's own from the first start on, and always a rung to stand on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import structlog
import trio

from certstore import Bundle, Finding, Identity, InProcess, Receipt, Source, Store, firstboot
from certstore.atomic import Disk
from tests.serving_here import ServingHere
from tlsproxy import policy
from tlsproxy.caretaker import Caretaker, wait_random_ready
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls import contexts as contexts_room
from tlsproxy.tls import gate as gate_room
from tlsproxy.tls.engines import ContextError, make_context

NAMES: tuple[str, ...] = ("device.test", "192.0.2.7")


class Scene:
    """A store, what serves from it, and a caretaker whose time and names the test sets."""

    def __init__(self, path: Path, now: datetime, disk: Disk | None = None) -> None:
        self.now, self.names = now, tuple(NAMES)
        self.publishing = ServingHere()
        self.serving = self.publishing.serving
        self.store = Store.open(path, clock=lambda: self.now, publisher=self.publishing, disk=disk)
        self.publishing.load_from(self.store.bundle)
        self.caretaker = Caretaker(
            self.store,
            self.publishing,
            lambda: Identity(self.names, "4711", self.names[0]),
            lambda: self.now,
            self.propose,
        )

    def propose(self, bundle: Bundle) -> Receipt:
        return self.store.propose(bundle, source=Source.GENERATED, via="identity", examiner=InProcess())

    def served(self, name: str | None = None) -> str | None:
        context = self.serving.table.choose(name, None)
        return None if context is None else context.bundle_id

    def own(self) -> Bundle:
        served = self.served()
        assert served is not None
        return self.store.bundle(served)

    def pass_time(self, **by: float) -> None:
        """Let time go by, and the caretaker look once."""
        self.now += timedelta(**by)
        self.caretaker._care()


@contextmanager
def scene_at(path: Path, now: datetime, disk: Disk | None = None) -> Iterator[Scene]:
    scene = Scene(path, now, disk)
    try:
        yield scene
    finally:
        scene.store.close()


async def test_the_first_start_makes_a_certificate_for_this_device(tmp_path, now):
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        own = scene.own()
        assert own.names == tuple(sorted(NAMES))
        assert own.self_signed
        assert not scene.publishing.in_memory


async def test_two_devices_never_share_a_key(tmp_path, now):
    keys = set()
    for unit in ("one", "two"):
        with scene_at(tmp_path / unit, now) as scene:
            await scene.caretaker.first_start()
            keys.add(scene.own().spki)
    assert len(keys) == 2


async def test_a_second_start_serves_the_same_certificate(tmp_path, now):
    served = []
    for _ in range(2):
        with scene_at(tmp_path / "store", now) as scene:
            await scene.caretaker.first_start()
            served.append(scene.served())
    assert served[0] == served[1]


async def test_no_key_is_made_before_the_random_generator_is_ready(
    tmp_path, now, monkeypatch, autojump_clock
):
    answers = iter([False, False, False, True, True])
    monkeypatch.setattr(firstboot, "random_ready", lambda: next(answers))
    with structlog.testing.capture_logs() as log:
        await wait_random_ready()
    assert [line["event"] for line in log] == ["random_wait", "random_ready"]
    assert next(answers), "it was asked until it was ready, and no longer"


async def test_a_name_that_is_missing_for_ten_minutes_is_added_with_the_same_key(tmp_path, now):
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        first = scene.own()
        scene.names = (*NAMES, "192.0.2.8")
        scene.pass_time(minutes=1)
        scene.pass_time(minutes=9)
        assert scene.own() == first
        scene.pass_time(minutes=1)
        second = scene.own()
    assert "192.0.2.8" in second.names
    assert second.spki == first.spki


async def test_a_name_that_comes_and_goes_changes_nothing(tmp_path, now):
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        first = scene.own()
        for names in ((*NAMES, "192.0.2.8"), NAMES, (*NAMES, "192.0.2.8"), NAMES[:1]):
            scene.names = names
            scene.pass_time(minutes=8)
        scene.pass_time(minutes=60)
        assert scene.own() == first


async def test_it_is_issued_anew_before_its_end_with_the_same_key(tmp_path, now):
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        first = scene.own()
        scene.pass_time(days=200)
        assert scene.own() == first
        scene.pass_time(days=100)
        second = scene.own()
    assert second.not_after > first.not_after
    assert second.spki == first.spki


async def test_a_customers_certificate_is_never_replaced_by_the_devices_own(tmp_path, now, pki):
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        customers = pki.leaf(start=now, days=1000).bundle()
        scene.store.propose(customers, source=Source.CUSTOMER, via="test", examiner=InProcess())
        scene.names = ("another.test",)
        for _ in range(3):
            scene.pass_time(minutes=30)
        assert scene.served() == customers.id


async def test_a_full_disk_at_the_first_start_is_served_from_memory_and_left_when_it_has_room(tmp_path, now):
    full = True

    def fail(step: str, path: Path) -> None:
        if full and path.suffix == ".json" and "slots" in path.parts:
            raise OSError(28, "No space left on device")

    with scene_at(tmp_path / "store", now, Disk(before=fail)) as scene:
        await scene.caretaker.first_start()
        assert scene.publishing.in_memory
        assert scene.served() is not None
        full = False
        scene.pass_time(minutes=1)
        assert not scene.publishing.in_memory
        assert scene.own().names == tuple(sorted(NAMES))


async def test_a_bundle_that_this_tls_library_refuses_falls_alone(tmp_path, now, pki, monkeypatch):
    mine, other = (pki.leaf((name,), start=now).bundle() for name in ("refused.test", "good.test"))
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        for bundle in (mine, other):
            scene.store.propose(bundle, source=Source.CUSTOMER, via="test", examiner=InProcess())
    refuse(monkeypatch, mine.id)
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        assert scene.served("good.test") == other.id
        assert scene.served("refused.test") not in {None, mine.id}
        assert not scene.publishing.in_memory


async def test_a_refused_bundle_falls_alone_on_a_store_that_takes_no_writes_too(
    tmp_path, now, pki, monkeypatch
):
    mine, other = (pki.leaf((name,), start=now).bundle() for name in ("refused.test", "good.test"))
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        for bundle in (mine, other):
            scene.store.propose(bundle, source=Source.CUSTOMER, via="test", examiner=InProcess())
    refuse(monkeypatch, mine.id)

    def fail(step: str, path: Path) -> None:
        raise OSError(30, "Read-only file system")

    with structlog.testing.capture_logs() as log, scene_at(tmp_path / "store", now, Disk(fail)) as scene:
        await scene.caretaker.first_start()
        assert scene.served("good.test") == other.id
        assert scene.served("refused.test") not in {None, mine.id}
        assert not scene.publishing.in_memory
    assert [line["bundle"] for line in log if line["event"] == "bundle_unservable"] == [mine.id]


async def test_a_refused_bundle_of_a_large_store_falls_alone(tmp_path, now, pki, monkeypatch):
    monkeypatch.setattr(policy, "CONTEXTS_PROVED", 2)
    bundles = {
        name: pki.leaf((name,), start=now).bundle()
        for name in ("a-refused.test", "b.test", "c.test", "d.test")
    }
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        for bundle in bundles.values():
            scene.store.propose(bundle, source=Source.CUSTOMER, via="test", examiner=InProcess())
    refused = bundles.pop("a-refused.test")
    refuse(monkeypatch, refused.id)
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        assert not scene.publishing.in_memory
        assert {name: scene.served(name) for name in bundles} == {n: b.id for n, b in bundles.items()}
        entry = scene.serving.table.choose("a-refused.test", None)
        assert entry is not None
        entry.accept()
        assert entry.bundle_id == scene.served()


async def test_a_bundle_that_failed_for_want_of_descriptors_comes_back_by_itself(
    tmp_path, now, pki, monkeypatch
):
    mine = pki.leaf(("device.test",), start=now).bundle()
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        scene.store.propose(mine, source=Source.CUSTOMER, via="test", examiner=InProcess())
    refuse(monkeypatch, mine.id, OSError(24, "Too many open files"))
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        fallen = scene.served()
        assert fallen not in {None, mine.id}
        scene.pass_time(minutes=1)
        assert scene.served() == fallen
        monkeypatch.undo()
        scene.pass_time(minutes=1)
        assert scene.served() == mine.id
        number = scene.serving.table.number
        scene.pass_time(minutes=1)
        assert scene.serving.table.number == number


async def test_a_bundle_that_a_worker_could_not_read_falls_at_once_and_is_told(tmp_path, now, pki):
    with scene_at(tmp_path / "store", now) as scene, structlog.testing.capture_logs() as log:
        await scene.caretaker.first_start()
        own, lost = scene.own(), pki.leaf(start=now, days=90).bundle()
        scene.store.propose(lost, source=Source.CUSTOMER, via="test", examiner=InProcess())
        damage(scene.store, lost)
        scene.caretaker.lose(lost.id, "it is damaged")
        scene.pass_time(seconds=1)
        assert scene.served() == own.id
        number = scene.serving.table.number
        scene.pass_time(minutes=1)
        assert scene.serving.table.number == number
    told = [line.get("code") for line in log if line["event"] in {"bundle_unservable", "finding"}]
    assert told == [None, "slot_fallen"]


def damage(store: Store, bundle: Bundle) -> None:
    """Turn one bit of the key, as a bad disk might."""
    path = store.path / "bundles" / bundle.id / "key.pem"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


async def test_a_clock_that_was_set_back_does_not_make_ten_minutes_years(tmp_path, now):
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        scene.names = (*NAMES, "192.0.2.8")
        scene.pass_time(hours=20)
        scene.pass_time(hours=-20)
        scene.pass_time(minutes=10)
        assert "192.0.2.8" in scene.own().names


async def test_the_first_start_waits_for_the_random_generator_before_it_makes_a_key(
    tmp_path, now, monkeypatch, autojump_clock
):
    stored_when_asked: list[int] = []

    def ready() -> bool:
        stored_when_asked.append(len(scene.store.slots()))
        return len(stored_when_asked) > 3

    monkeypatch.setattr(firstboot, "random_ready", ready)
    with structlog.testing.capture_logs() as log, scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        assert scene.own().names == tuple(sorted(NAMES))
    assert stored_when_asked == [0, 0, 0, 0]
    assert [line["event"] for line in log].count("random_wait") == 1


async def test_when_no_bundle_can_be_served_one_in_memory_is(tmp_path, now, monkeypatch):
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        own = scene.own()
    refuse(monkeypatch, own.id)
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        assert scene.publishing.in_memory
        assert scene.served() not in {None, own.id}


def refuse(monkeypatch: pytest.MonkeyPatch, bundle_id: str, error: Exception | None = None) -> None:
    """Let the TLS library refuse one bundle, as another one of its releases might."""

    def make(bundle: Bundle, policy: TLSPolicy, engine: str, *_more: object) -> object:
        if bundle.id == bundle_id:
            raise error or ContextError(bundle.id, engine, "ee key too small")
        return make_context(bundle, policy, "bundled")

    for room in (contexts_room, gate_room):
        monkeypatch.setattr(room, "make_context", make)


async def test_a_clock_that_cannot_be_right_is_told_once_and_its_return_too(tmp_path, now):
    with structlog.testing.capture_logs() as log, scene_at(tmp_path / "store", now) as scene:
        right, scene.now = now, firstboot.BUILD_DATE - timedelta(days=2000)
        await scene.caretaker.first_start()
        scene.pass_time(minutes=1)
        assert scene.served() is not None
        scene.now = max(right, firstboot.BUILD_DATE)
        scene.pass_time(minutes=1)
    events = [line["event"] for line in log if line["event"].startswith("clock")]
    assert events == ["clock_implausible", "clock_plausible"]


async def test_a_look_that_fails_for_want_of_descriptors_is_told_once_and_does_not_end_the_proxy(
    tmp_path, now
):
    with scene_at(tmp_path / "store", now) as scene, structlog.testing.capture_logs() as told:
        await scene.caretaker.first_start()
        served, identity = scene.served(), scene.caretaker._identity

        def no_descriptor_left() -> Identity:
            raise OSError(errno.EMFILE, "too many open files")

        scene.caretaker._identity = no_descriptor_left
        for _ in range(2):
            scene.pass_time(minutes=1)
        assert scene.served() == served
        assert [e["code"] for e in told if e["event"] == "care_failed"] == ["system_failed"]
        scene.caretaker._identity = identity
        scene.names = (*NAMES, "new.test")
        scene.pass_time(minutes=1)
        scene.pass_time(minutes=11)
        assert "new.test" in scene.own().names


async def test_run_looks_again_and_again_until_it_is_cancelled(tmp_path, now):
    with scene_at(tmp_path / "store", now) as scene:
        await scene.caretaker.first_start()
        with trio.move_on_after(0) as scope:
            await scene.caretaker.run()
    assert scope.cancelled_caught


@pytest.fixture
def now() -> datetime:
    """Give a time that certificates of the test authority are made around, whole seconds."""
    return datetime.now().astimezone().replace(microsecond=0)


async def test_a_turn_for_which_no_thread_is_left_is_told_once_and_made_later(tmp_path, now, monkeypatch):
    async def none_left(_act: object) -> None:
        raise RuntimeError("can't start new thread")

    with scene_at(tmp_path / "store", now) as scene, structlog.testing.capture_logs() as told:
        await scene.caretaker.first_start()
        scene.names = (*NAMES, "new.test")
        scene.now += timedelta(minutes=1)
        async with trio.open_nursery() as nursery:
            with monkeypatch.context() as patched:
                patched.setattr(trio.to_thread, "run_sync", none_left)
                nursery.start_soon(scene.caretaker.run)
                for _ in range(2):
                    scene.caretaker._hurry.set()
                    await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(20):
                scene.caretaker._hurry.set()
                while scene.caretaker._missing_since is None:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert [line["step"] for line in told if line["event"] == "care_failed"] == ["thread"]


async def test_a_bundle_that_a_worker_has_invented_is_not_looked_for(tmp_path, now):
    with scene_at(tmp_path / "store", now) as scene, structlog.testing.capture_logs() as told:
        await scene.caretaker.first_start()
        for invented in ("../" * 20 + "etc", "0" * 64):
            scene.caretaker.lose(invented, "a lie")
        assert not told or "bundle_unservable" not in {line["event"] for line in told}
        assert not scene.caretaker._lost


async def test_a_store_that_is_gone_is_told_once_and_what_is_served_stays_until_it_is_back(tmp_path, now):
    with scene_at(tmp_path / "s", now) as here:
        await here.caretaker.first_start()
        told: list[Finding] = []
        here.caretaker.on_finding = told.append
        served = here.served()
        (tmp_path / "s").rename(tmp_path / "away")
        here.pass_time(minutes=1)
        here.pass_time(days=300)
        assert [finding.code for finding in told] == ["store_gone"]
        assert here.served() == served
        (tmp_path / "away").rename(tmp_path / "s")
        here.pass_time(minutes=1)
        assert here.served() not in {None, served}, "it was due for renewal"
        (tmp_path / "s").rename(tmp_path / "away")
        here.pass_time(minutes=1)
        assert [finding.code for finding in told] == ["store_gone"] * 2
