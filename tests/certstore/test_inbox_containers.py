"""Containers and archives in the inbox: one with both halves is taken, a locked one is told how to go on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore.receipts import State
from certstore.snapshot import Kind
from certstore.store import Store
from tests.inboxing import looked_after
from tests.intake import FOLDER
from tests.pki import Pki


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store", clock=lambda: datetime.now(UTC)) as opened:
        yield opened


@pytest.fixture
def place(tmp_path):
    (tmp_path / "inbox").mkdir(mode=0o700)
    return tmp_path / "inbox"


def file_of(case: str) -> Path:
    (path,) = (FOLDER / "files" / case).iterdir()
    return path


@pytest.mark.parametrize(
    "case",
    [
        *("p12-empty-openssl", "p12-empty-openssl-legacy", "p12-empty-no-mac", "p12-none-cryptography"),
        *("zip", "tar-gz", "gz-of-one-file", "pem-utf16le"),
    ],
)
async def test_one_file_with_both_halves_goes_live(store, place, case):
    path = file_of(case)
    async with looked_after(store, place) as inbox:
        inbox.put(path.name, path.read_bytes())
        receipt = await inbox.receipt()
        assert receipt.state is State.CONFIRMED, receipt.codes
        assert inbox.served() == receipt.bundle
        assert inbox.names() == {path.name}


@pytest.mark.parametrize(
    ("case", "code", "hint"),
    [
        ("p12-without-passphrase", "passphrase_needed", "tlsproxy certs import --passphrase-file"),
        ("hostile-p12-legacy-3000000-locked", "passphrase_too_costly", "export it again"),
        ("java-jks", "container_unsupported", "keytool -importkeystore"),
        ("hostile-zip-bomb", "archive_too_large", "hand in the certificate"),
    ],
)
async def test_what_cant_be_read_here_is_put_away_with_the_way_on(store, place, case, code, hint):
    path = file_of(case)
    async with looked_after(store, place) as inbox:
        inbox.put(path.name, path.read_bytes())
        receipt = await inbox.receipt()
        assert (receipt.state, receipt.codes) == (State.REFUSED, (code,))
        assert hint in receipt.findings[0].hint
        assert inbox.refused(receipt) == {path.name}


async def test_beside_a_pair_in_a_watched_directory_keystores_are_for_somebody_else(store, place, pki: Pki):
    issued = pki.leaf()
    (place / "keystore.jks").write_bytes(file_of("java-jks").read_bytes())
    (place / "keystore.p12").write_bytes(file_of("p12-without-passphrase").read_bytes())
    (place / "tls.crt").write_bytes(issued.chain_pem)
    (place / "tls.key").write_bytes(issued.key_pem)
    async with looked_after(store, place, kind=Kind.WATCH) as inbox:
        assert (await inbox.receipt()).state is State.CONFIRMED
        await inbox.looks(3)
        assert len(inbox.receipts) == 1
        (place / "tls.crt").unlink()
        (place / "tls.key").unlink()
        inbox.inbox.hint()
        told = {(await inbox.receipt(number)).codes for number in (1, 2)}
        assert told == {("passphrase_needed",), ("container_unsupported",)}
