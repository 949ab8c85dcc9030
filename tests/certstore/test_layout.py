"""What a store of format 1 holds. Whoever adds to it decides here whether older versions may pass that by."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certstore import Source, Store, layout
from certstore.bans import Reason
from certstore.examination import InProcess
from certstore.issuers.selfsigned import Identity
from certstore.probation import BootTime
from certstore.requesting import Wish
from tests.pki import Pki
from tests.requesting import answered, hand_in

PLAIN = Reason.SUPERSEDED
FOLDERS = {
    "authority",
    "authority/accounts",
    "authority/answered",
    "authority/csr",
    "authority/device-ca",
    "authority/factory",
    "authority/orders",
    "banned",
    "bundles",
    "generations",
    "handled",
    "receipts",
    "slots",
    "trust",
    *(f"slots/{source}" for source in ("acme", "customer", "factory", "generated")),
}
# An older version that meets another field leaves it out of what it writes anew: harmless, or format 2?
FIELDS = {
    "slot": "bundle last_confirmed names receipt sealed since source stored_at via",
    "receipt": "bundle cause confirm_within_s findings generation id source state times via",
    "generation": "cause default made_at number receipt rows slots trust",
    "ban": "at since spki via",
    # and `brought_by` where a backup brought it
    "request": "expires_at id key_type made_at names pem renews since spki subject via",
    "answered": "key_type names prepared subject",
}


@pytest.fixture
def root(tmp_path: Path, pki: Pki) -> Path:
    """A store in which everything has happened once."""
    boot = BootTime("boot", 1.0)
    path = tmp_path / "store"
    with Store.open(path, clock=lambda: datetime.now(UTC), boot_clock=lambda: boot) as store:
        for source, names in ((Source.GENERATED, "own.test"), (Source.ACME, "acme.test")):
            bundle = pki.leaf(names=(names,)).bundle()
            store.propose(bundle, source=source, via="x", examiner=InProcess())
        hand_in(store, answered(pki, store.requests.make(Wish(("a.test",)), via="x")))
        store.requests.make(Wish(("b.test",)), via="x")
        store.factory.request(Identity(("px-1.test",), "PX-1", "px-1"))
        for reason, within_s in ((PLAIN, None), (Reason.KEY_COMPROMISE, None), (PLAIN, 60.0)):
            bundle = pki.leaf(names=("c.test",)).bundle()
            store.propose(
                bundle,
                source=Source.CUSTOMER,
                via="x",
                examiner=InProcess(),
                reason=reason,
                confirm_within_s=within_s,
            )
    return path


def test_a_store_has_the_folders_of_format_1(root: Path):
    assert layout.KNOWN_FORMAT == 1
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()}
    assert {str(folder) for folder in layout.folders()} == FOLDERS
    own = {one for one in found if one not in FOLDERS}
    assert {one.rpartition("/")[0] for one in own} == {"bundles", "authority/csr", "authority/factory"}


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("slot", "slots/*/*.json"),
        ("receipt", "receipts/*.json"),
        ("generation", "generations/*.json"),
        ("ban", "banned/*.json"),
        ("request", "authority/csr/*/request.json"),
        ("answered", "authority/answered/*.json"),
    ],
)
def test_its_records_have_the_fields_of_format_1(root: Path, kind: str, pattern: str):
    found = {" ".join(sorted(json.loads(path.read_bytes()))) for path in root.glob(pattern)}
    assert found == {FIELDS[kind]}
