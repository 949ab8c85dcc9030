"""Everything broken that may be put into an inbox: what is served stays, and each kind has its own code."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore.gathering import Timing
from certstore.receipts import State
from certstore.rescan import MAX_FILE_BYTES
from certstore.store import Store
from tests.inboxing import looked_after
from tests.pki import to_pem


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store", clock=lambda: datetime.now(UTC)) as opened:
        yield opened


@pytest.fixture
def place(tmp_path):
    (tmp_path / "inbox").mkdir(mode=0o700)
    return tmp_path / "inbox"


def encrypted(pki):
    one = pki.leaf()
    return one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


def stranger(pki):
    """An authority that none of the certificates here come from."""
    key = pki.make_key("ec")
    return to_pem(pki.authority("Some Root", key, None, key, now=datetime.now(UTC)))


def pair(one):
    return {"bad.crt": one.chain_pem, "bad.key": one.key_pem}


def ago(**by):
    return datetime.now(UTC) - timedelta(**by)


DH_PARAMETERS = b"-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQI=\n-----END DH PARAMETERS-----\n"

# code -> the files that get it, given the authority
KINDS = {
    "key_mismatch": lambda pki: {"bad.crt": pki.leaf().chain_pem, "bad.key": pki.leaf().key_pem},
    "file_empty": lambda _: {"bad.pem": b""},
    "file_truncated": lambda pki: {"bad.pem": pki.leaf().chain_pem[:-200]},
    "unparsable": lambda _: {"bad.pem": b"\x7fELF" + bytes(range(256)) * 8},
    "key_unparsable": lambda pki: {"bad.key": pki.leaf().key_pem.replace(b"MI", b"AA", 1)},
    "passphrase_needed": lambda pki: {"bad.key": encrypted(pki)},
    "expired": lambda pki: pair(pki.leaf(start=ago(days=100), days=90)),
    "ca_as_leaf": lambda pki: pair(pki.leaf(issuer=None, ca=True)),
    "not_for_servers": lambda pki: pair(pki.leaf(eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))),
    "chain_only": lambda pki: {"bad.pem": stranger(pki)},
    "nothing_usable": lambda _: {"bad.pem": DH_PARAMETERS},
    "file_too_large": lambda pki: {"bad.pem": pki.leaf().chain_pem + b"#" * MAX_FILE_BYTES},
}


async def serving(inbox, pki):
    """Put something good there first: it must stay what is served."""
    good = pki.leaf(("good.test",))
    inbox.put("good.pem", good.key_pem + good.chain_pem)
    await inbox.receipt()
    return good.bundle().id


@pytest.mark.parametrize("code", KINDS)
async def test_a_broken_candidate_gets_its_own_code_and_is_put_away(store, place, pki, code):
    async with looked_after(store, place) as inbox:
        good = await serving(inbox, pki)
        files = KINDS[code](pki)
        for name, content in files.items():
            inbox.put(name, content)
        receipt = await inbox.receipt(1)
        assert receipt.state is State.REFUSED
        assert [finding.code for finding in receipt.findings if finding.is_error] == [code]
        assert inbox.served() == good
        assert inbox.refused(receipt) == set(files)
        await inbox.looks(2)
        assert len(inbox.receipts) == 2
        assert inbox.names() == {"good.pem"}


@pytest.mark.parametrize(
    ("name", "half", "code"),
    [("bad.key", "key_pem", "key_without_certificate"), ("bad.crt", "cert_pem", "certificate_without_key")],
)
async def test_a_lone_half_is_told_once_and_left_until_its_partner_comes(store, place, pki, name, half, code):
    one = pki.leaf()
    async with looked_after(store, place) as inbox:
        good = await serving(inbox, pki)
        inbox.put(name, getattr(one, half))
        assert (await inbox.receipt(1)).codes == (code,)
        await inbox.looks(2)
        assert (len(inbox.receipts), inbox.served()) == (2, good)
        assert inbox.names() == {"good.pem", name}
        inbox.put("partner.pem", one.key_pem + one.chain_pem)
        assert (await inbox.receipt(2)).bundle == one.bundle().id


def make_loop(place):
    (place / "bad.pem").symlink_to("bad.pem")


def make_dangling(place):
    (place / "bad.pem").symlink_to("nowhere.pem")


def make_directory(place):
    (place / "bad.pem").mkdir()
    (place / "bad.pem" / "inner.pem").write_text("x")


def make_pipe(place):
    os.mkfifo(place / "bad.pem")


def make_socket(place):
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(place, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/bad.pem")  # a path of its own would be too long for an address
        os.close(here)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (make_loop, "symlink_loop"),
        (make_dangling, "symlink_dangling"),
        (make_directory, "is_directory"),
        (make_pipe, "not_a_file"),
        (make_socket, "not_a_file"),
    ],
)
async def test_what_is_no_file_gets_its_own_code_and_is_put_away(store, place, pki, make, code):
    async with looked_after(store, place) as inbox:
        good = await serving(inbox, pki)
        make(place)
        receipt = await inbox.receipt(1)
        assert receipt.codes == (code,)
        assert (inbox.served(), inbox.refused(receipt), inbox.names()) == (good, {"bad.pem"}, {"good.pem"})


async def test_a_good_pair_is_served_at_once_beside_everything_broken(store, place, pki):
    for code, make in KINDS.items():
        for name, content in make(pki).items():
            (place / f"{code} {name}").write_bytes(content)
    make_loop(place)
    good = pki.leaf(("good.test",))
    async with looked_after(store, place) as inbox:
        inbox.put("good.pem", good.key_pem + good.chain_pem)
        while inbox.served() != good.bundle().id:
            await inbox.changed.wait()
        while inbox.names() != {"good.pem"}:
            await inbox.changed.wait()
        assert set(KINDS) - set(inbox.codes()) == set()
        assert inbox.served() == good.bundle().id


async def test_a_refused_file_whose_very_content_is_put_back_is_passed_by(store, place, pki):
    async with looked_after(store, place) as inbox:
        inbox.put("bad.pem", b"rubbish")
        await inbox.receipt()
        inbox.put("bad.pem", b"rubbish")
        await inbox.looks(3)
        assert len(inbox.receipts) == 1
        inbox.put("bad.pem", b"other rubbish")
        await inbox.receipt(1)


async def test_a_planted_link_named_like_the_quarantine_gets_no_keys(store, place, pki, tmp_path):
    (tmp_path / "thief").mkdir()
    (place / ".refused").symlink_to(tmp_path / "thief")
    async with looked_after(store, place) as inbox:
        for name, content in KINDS["key_mismatch"](pki).items():
            inbox.put(name, content)
        await inbox.trouble("quarantine_failed")
        await inbox.looks(2)
        assert inbox.codes() == ["key_mismatch"]
        assert list((tmp_path / "thief").iterdir()) == []
        assert inbox.names() == {"bad.crt", "bad.key"}


async def test_with_a_full_patience_nothing_broken_is_told_early(store, place, pki):
    async with looked_after(store, place, timing=Timing(patience_s=3600.0)) as inbox:
        inbox.put("bad.pem", b"")
        await inbox.looks(2)
        assert inbox.receipts == []
    assert store.receipts() == ()


async def test_a_flood_of_broken_files_leaves_few_folders_behind_long_before_the_hour(
    store, place, monkeypatch
):
    for module in ("keeper", "quarantine"):
        monkeypatch.setattr(f"certstore.{module}.KEPT", 3)
    async with looked_after(store, place) as inbox:
        for number in range(12):
            os.mkfifo(place / f"{number:02}")
        await inbox.receipt(11)
        with trio.move_on_after(20):  # on a busy machine the looks that it takes come late
            while inbox.names() or len(list((place / ".refused").iterdir())) > 3:
                await inbox.looks()
        assert inbox.names() == set()
    assert len(list((place / ".refused").iterdir())) <= 3


async def test_while_no_thread_is_left_that_is_told_once_and_what_came_is_served_later(
    store, place, pki, monkeypatch
):
    async def none_left(*_, **__):
        raise RuntimeError("can't start new thread")

    good = pki.leaf()
    async with looked_after(store, place, rescan_s=0.1) as inbox:
        with monkeypatch.context() as patched:
            patched.setattr(trio.to_thread, "run_sync", none_left)
            inbox.put("good.pem", good.key_pem + good.chain_pem)
            for code in ("look_failed", "watch_limited"):
                await inbox.trouble(code)
            for _ in range(2):
                inbox.inbox.hint()
                await trio.testing.wait_all_tasks_blocked()
        await inbox.receipt()
        assert inbox.served() == good.bundle().id
        assert sorted(finding.code for finding in inbox.troubles) == ["look_failed", "watch_limited"]
        await inbox.looks()
        assert not inbox.inbox.troubles
