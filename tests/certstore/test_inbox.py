"""Files put into a real inbox, in every way in which people and programs do that."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from certstore.errors import StoreNotWritable
from certstore.examination import InProcess
from certstore.receipts import State
from certstore.store import Store
from tests.inboxing import looked_after
from tests.storing import OpenGate, ShutGate


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store", clock=lambda: datetime.now(UTC)) as opened:
        yield opened


@pytest.fixture
def place(tmp_path):
    (tmp_path / "inbox").mkdir(mode=0o700)
    return tmp_path / "inbox"


async def test_a_pair_renamed_into_the_inbox_is_served_and_stays_there(store, place, pki):
    one = pki.leaf()
    async with looked_after(store, place) as inbox:
        inbox.put("device.key", one.key_pem)
        inbox.put("device.crt", one.chain_pem)
        receipt = await inbox.receipt()
        assert (receipt.state, receipt.via) == (State.CONFIRMED, "inbox")
        assert inbox.served() == one.bundle().id
        assert inbox.names() == {"device.key", "device.crt"}


@pytest.mark.parametrize("order", [("cert", "key"), ("key", "cert")])
async def test_either_half_may_come_first(store, place, pki, order):
    one = pki.leaf(key="rsa")
    halves = {"cert": one.chain_pem, "key": one.key_pem}
    async with looked_after(store, place) as inbox:
        for half in order:
            inbox.put(f"{half}.pem", halves[half])
            await inbox.looks(1)
        while inbox.served() != one.bundle().id:
            await inbox.looks(1)


async def test_a_file_written_in_place_in_slow_pieces_is_taken_when_it_is_whole(store, place, pki):
    one = pki.leaf()
    pem = one.key_pem + one.chain_pem
    async with looked_after(store, place) as inbox:
        with (place / "all.pem").open("wb", buffering=0) as file:
            for start in range(0, len(pem), 300):
                file.write(pem[start : start + 300])
                await trio.sleep(0.05)  # the slow line itself, not a wait for something
        await inbox.receipt()
        assert [r.state for r in inbox.receipts] == [State.CONFIRMED]
        assert inbox.served() == one.bundle().id


async def test_a_stalled_copy_is_not_judged_as_long_as_somebody_writes_to_it(store, place, pki):
    one = pki.leaf()
    pem = one.key_pem + one.chain_pem
    async with looked_after(store, place) as inbox:
        with (place / "all.pem").open("wb", buffering=0) as file:
            file.write(pem[:-100])
            await inbox.looks(4)
            assert inbox.receipts == []
            file.write(pem[-100:])
        assert (await inbox.receipt()).state is State.CONFIRMED


async def test_what_came_while_nobody_looked_is_found_at_the_start(store, place, pki):
    one = pki.leaf()
    (place / "all.pem").write_bytes(one.key_pem + one.chain_pem)
    async with looked_after(store, place) as inbox:
        await inbox.receipt()
        assert inbox.served() == one.bundle().id


async def test_the_same_content_is_handled_once_also_after_a_restart(store, place, pki):
    one = pki.leaf()
    pem = one.key_pem + one.chain_pem
    async with looked_after(store, place) as inbox:
        inbox.put("all.pem", pem)
        await inbox.receipt()
        inbox.put("all.pem", pem)
        (place / "all.pem").touch()
        await inbox.looks(3)
        assert len(inbox.receipts) == 1
    async with looked_after(store, place) as again:
        again.put("again.pem", pem)
        await again.looks(3)
        assert again.receipts == []


async def test_different_content_under_the_same_name_is_a_new_candidate(store, place, pki):
    async with looked_after(store, place) as inbox:
        for number, kind in enumerate(("ec", "rsa", "ec")):
            one = pki.leaf(key=kind)
            inbox.put("all.pem", one.key_pem + one.chain_pem)
            assert (await inbox.receipt(number)).bundle == one.bundle().id == inbox.served()


async def test_a_certificate_for_a_key_that_is_here_comes_alone(store, place, pki):
    old = pki.leaf()
    renewed = pki.leaf(key=old.key)
    async with looked_after(store, place) as inbox:
        inbox.put("all.pem", old.key_pem + old.chain_pem)
        await inbox.receipt()
        (place / "all.pem").unlink()
        inbox.put("renewed.pem", renewed.chain_pem)
        assert (await inbox.receipt(1)).state is State.CONFIRMED
        assert inbox.served() == renewed.bundle().id


async def test_two_pairs_with_strange_names_and_line_ends_are_both_served(store, place, pki):
    one, two = pki.leaf(("a.test",)), pki.leaf(("b.test",))
    async with looked_after(store, place) as inbox:
        inbox.put("Zertifikat (neu) 1.txt", one.chain_pem.replace(b"\n", b"\r\n"))
        inbox.put("Schlüssel 1", one.key_pem.replace(b"\n", b"\r\n"))
        inbox.put("line\nfeed", b"Bag Attributes\n" + two.key_pem)
        inbox.put(os.fsdecode(b"latin1-\xe9.pem"), b"subject=b\n" + two.chain_pem)
        await inbox.receipt(1)
        assert {row.pattern for row in store.active.rows} == {"a.test", "b.test"}


async def test_a_symlink_swapped_to_a_new_version_is_a_new_candidate(store, place, pki, tmp_path):
    one, two = pki.leaf(), pki.leaf()
    for name, pair in (("v1.pem", one), ("v2.pem", two)):
        (tmp_path / name).write_bytes(pair.key_pem + pair.chain_pem)
    async with looked_after(store, place) as inbox:
        (place / "device.pem").symlink_to("../v1.pem")
        assert (await inbox.receipt()).bundle == one.bundle().id
        (place / ".next").symlink_to("../v2.pem")
        (place / ".next").rename(place / "device.pem")
        assert (await inbox.receipt(1)).bundle == two.bundle().id


async def test_files_that_vanish_while_they_are_read_do_no_harm(store, place, pki):
    one = pki.leaf()
    stop = threading.Event()

    def flicker():
        number = 0
        while not stop.is_set():
            path = place / f"flicker{number % 7}.pem"
            path.write_bytes(one.cert_pem)
            path.unlink()
            number += 1

    async with looked_after(store, place) as inbox:
        thread = threading.Thread(target=flicker)
        thread.start()
        try:
            inbox.put("all.pem", one.key_pem + one.chain_pem)
            assert (await inbox.receipt()).state is State.CONFIRMED
        finally:
            stop.set()
            await trio.to_thread.run_sync(thread.join)


async def test_an_inbox_that_is_not_there_is_made_and_one_that_is_deleted_is_missed(store, tmp_path, pki):
    place = tmp_path / "inbox"
    one = pki.leaf()
    async with looked_after(store, place, rescan_s=0.5) as inbox:
        assert place.stat().st_mode & 0o777 == 0o700
        place.rmdir()
        await inbox.trouble("path_missing")
        assert {finding.code for finding in inbox.inbox.troubles} == {"path_missing"}
        place.mkdir()
        inbox.put("all.pem", one.key_pem + one.chain_pem)
        assert (await inbox.receipt()).state is State.CONFIRMED
        assert inbox.inbox.troubles == frozenset()


async def test_a_pair_that_the_gate_refuses_is_moved_with_its_files_only(store, place, pki):
    one = pki.leaf()
    async with looked_after(store, place, examiner=InProcess(ShutGate())) as inbox:
        inbox.put("cert.pem", one.chain_pem)
        inbox.put("key.pem", one.key_pem)
        receipt = await inbox.receipt()
        assert receipt.state is State.REFUSED
        assert inbox.refused(receipt) == {"cert.pem", "key.pem"}
        assert inbox.names() == set()
        kept = place / ".refused" / receipt.id
        assert [kept.parent.stat().st_mode & 0o777, kept.stat().st_mode & 0o777] == [0o700, 0o700]
        assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}


async def test_a_store_that_can_not_be_written_is_told_once_and_tried_again(store, place, pki, monkeypatch):
    one = pki.leaf()
    failing = [True, True]
    propose = store.propose

    def fail(*args, **kwargs):
        if failing:
            failing.pop()
            raise StoreNotWritable(Path("store"), "no space left on device")
        return propose(*args, **kwargs)

    monkeypatch.setattr(store, "propose", fail)
    monkeypatch.setattr("certstore.inbox.RETRY_AFTER_S", (0.2,))
    async with looked_after(store, place) as inbox:
        inbox.put("all.pem", one.key_pem + one.chain_pem)
        assert (await inbox.receipt()).state is State.CONFIRMED
        await inbox.looks(1)
        assert [finding.code for finding in inbox.troubles] == ["disk_failed"]
        assert inbox.inbox.troubles == frozenset()


async def test_cancelling_waits_for_a_proposal_under_way_and_remembers_it(store, place, pki):
    entered, let_go = threading.Event(), threading.Event()

    class SlowGate(OpenGate):
        def try_out(self, bundle):
            entered.set()
            assert let_go.wait(10)
            return super().try_out(bundle)

    one = pki.leaf()
    async with looked_after(store, place, examiner=InProcess(SlowGate())) as inbox:
        inbox.put("all.pem", one.key_pem + one.chain_pem)
        assert await trio.to_thread.run_sync(entered.wait, 10)
        threading.Timer(0.1, let_go.set).start()
    assert inbox.served() == one.bundle().id
    async with looked_after(store, place) as again:
        await again.looks(2)
        assert again.receipts == []


async def test_a_pair_in_place_is_proposed_within_a_fifth_of_a_second(store, place, pki):
    times, gate = [], OpenGate()
    async with looked_after(store, place, examiner=InProcess(gate)) as inbox:
        for number in range(9):
            one = pki.leaf()
            before = len(gate.tried)
            began = time.monotonic()
            inbox.put("all.pem", one.key_pem + one.chain_pem)
            await inbox.receipt(number)
            times.append(time.monotonic() - began)
            assert len(gate.tried) == before + 1
    # the aim is 0.2 s to the proposal; here the store's own work is in it, and two other test runs may be
    assert sorted(times)[4] < 0.6, times
