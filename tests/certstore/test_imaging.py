"""An image that is to become many units: whatever in it no two may share is found."""

from __future__ import annotations

import shutil

import pytest

from certstore.imaging import leaks_of, stores_under
from certstore.slots import Source
from certstore.store import Store
from tests.storing import Clock, propose


@pytest.fixture
def image(tmp_path, now):
    """A root file system with an empty store."""
    root = tmp_path / "rootfs"
    (root / "var" / "lib").mkdir(parents=True)
    (root / "etc").mkdir()
    Store.open(root / "var" / "lib" / "tlsproxy", clock=Clock(now)).close()
    return root


def store_of(image):
    return image / "var" / "lib" / "tlsproxy"


def test_an_empty_store_is_found_and_holds_nothing(image):
    assert stores_under(image) == [store_of(image)]
    assert list(leaks_of(store_of(image))) == []


def test_a_store_is_found_wherever_it_lies_but_not_through_a_link(image):
    (image / "opt").mkdir()
    shutil.copytree(store_of(image), image / "opt" / "device")
    (image / "srv").symlink_to(image / "opt")
    assert stores_under(image) == [image / "opt" / "device", store_of(image)]
    assert stores_under(store_of(image)) == [store_of(image)]


def test_keys_requests_and_what_lies_in_an_inbox_are_found(image, pki, now):
    with Store.open(store_of(image), clock=Clock(now)) as store:
        bundle = propose(store, pki.leaf(), Source.GENERATED).bundle
    for name in ("authority/device-ca/key.pem", "inbox/.refused/x/old.pem", "inbox/new.pem"):
        path = store_of(image) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found = list(leaks_of(store_of(image)))
    assert [leak.path.relative_to(store_of(image)).as_posix() for leak in found if leak.is_error] == [
        f"bundles/{bundle}/key.pem",
        "authority/device-ca/key.pem",
        "inbox/new.pem",
        "inbox/.refused/x/old.pem",
    ]
    assert [leak.path.name for leak in found if not leak.is_error] == ["active"]


def test_an_inbox_elsewhere_is_looked_at_there(image):
    (image / "inbox").mkdir()
    (image / "inbox" / "key.pem").write_bytes(b"x")
    assert [leak.path for leak in leaks_of(store_of(image), image / "inbox")] == [image / "inbox" / "key.pem"]


def test_what_cant_be_looked_at_is_an_error_and_not_silence(image, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PermissionError):
        stores_under(image)
