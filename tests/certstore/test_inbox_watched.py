"""Other programs' directories, as they lay them out: certbot, Kubernetes, a directory that comes and goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import pytest

from certstore.receipts import State
from certstore.slots import Source
from certstore.snapshot import Kind
from certstore.store import Store
from tests.inboxing import looked_after


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store", clock=lambda: datetime.now(UTC)) as opened:
        yield opened


class Certbot:
    """Lays files out as certbot 5 does: live/NAME/*.pem lead to ../../archive/NAME/*N.pem."""

    def __init__(self, root, pki):
        self.live, self.archive, self.pki = root / "live", root / "archive", pki
        self.version = {}
        self.live.mkdir()
        (self.live / "README").write_text("This directory contains your keys and certificates.\n")

    def renew(self, name, **leaf):
        issued = self.pki.leaf((name,), **leaf)
        number = self.version[name] = self.version.get(name, 0) + 1
        live, archive = self.live / name, self.archive / name
        live.mkdir(exist_ok=True)
        archive.mkdir(parents=True, exist_ok=True)
        contents = {
            "cert": issued.cert_pem,
            "privkey": issued.key_pem,
            "chain": self.pki.intermediate_pem,
            "fullchain": issued.chain_pem,
        }
        for kind, content in contents.items():
            (archive / f"{kind}{number}.pem").write_bytes(content)
        for kind in contents:  # one after the other, each link gone for a moment
            (live / f"{kind}.pem").unlink(missing_ok=True)
            (live / f"{kind}.pem").symlink_to(f"../../archive/{name}/{kind}{number}.pem")
        (live / "README").write_text("This directory contains your keys and certificates.\n")
        return issued.bundle().id


@pytest.mark.parametrize("reuse_key", [False, True])
async def test_certbots_live_directory_is_followed_through_renewals(store, tmp_path, pki, reuse_key):
    certbot = Certbot(tmp_path, pki)
    key = pki.make_key("ec") if reuse_key else "ec"
    first = certbot.renew("a.test", key=key)
    async with looked_after(store, certbot.live, Kind.WATCH) as watched:
        assert (await watched.receipt(0)).bundle == first
        assert (await watched.receipt(0)).via == f"watch:{certbot.live}"
        for number in range(1, 4):
            renewed = certbot.renew("a.test", key=key)
            assert (await watched.receipt(number)).bundle == renewed == watched.served()
        other = certbot.renew("b.test")
        assert (await watched.receipt(4)).bundle == other
        await watched.looks(3)
        assert [receipt.state for receipt in watched.receipts] == [State.CONFIRMED] * 5
        assert sorted(path.name for path in certbot.live.iterdir()) == ["README", "a.test", "b.test"]


async def test_one_live_directory_may_be_watched_for_the_acme_slot(store, tmp_path, pki):
    certbot = Certbot(tmp_path, pki)
    certbot.renew("a.test")
    async with looked_after(store, certbot.live / "a.test", Kind.WATCH, source=Source.ACME) as watched:
        assert (await watched.receipt()).source is Source.ACME
        renewed = certbot.renew("a.test")
        assert (await watched.receipt(1)).bundle == renewed


def publish(place, number, issued):
    """Lay a secret out as the kubelet does: data in a hidden directory, and one rename makes it current."""
    version = place / f"..2026_11_0{number}"
    version.mkdir()
    files = {"tls.crt": issued.chain_pem, "tls.key": issued.key_pem}
    for name, content in files.items():
        (version / name).write_bytes(content)
    (place / "..data_tmp").symlink_to(version.name)
    old = (place / "..data").readlink() if (place / "..data").is_symlink() else None
    (place / "..data_tmp").rename(place / "..data")
    for name in files:
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"..data/{name}")
    if old is not None:
        shutil.rmtree(place / old)
    return issued.bundle().id


@pytest.mark.parametrize("reuse_key", [False, True])
async def test_a_kubernetes_secret_is_followed_through_its_swaps(store, tmp_path, pki, reuse_key):
    place = tmp_path / "secret"
    place.mkdir()
    key = pki.make_key("ec") if reuse_key else "ec"
    publish(place, 0, pki.leaf(key=key))
    async with looked_after(store, place, Kind.WATCH) as watched:
        await watched.receipt(0)
        for number in range(1, 5):
            swapped = publish(place, number, pki.leaf(key=key))
            assert (await watched.receipt(number)).bundle == swapped == watched.served()
        await watched.looks(2)
        assert [receipt.state for receipt in watched.receipts] == [State.CONFIRMED] * 5


async def test_a_directory_that_does_not_exist_yet_is_told_once_and_taken_up_when_it_comes(
    store, tmp_path, pki
):
    place = tmp_path / "later" / "tls"
    one = pki.leaf()
    async with looked_after(store, place, Kind.WATCH, rescan_s=3600.0) as watched:
        await watched.trouble("path_missing")
        await watched.looks(2)
        assert [finding.code for finding in watched.troubles] == ["path_missing"]
        place.mkdir(parents=True)
        watched.put("all.pem", one.key_pem + one.chain_pem)
        assert (await watched.receipt()).bundle == one.bundle().id


async def test_a_broken_file_in_somebody_elses_directory_is_told_and_not_touched(store, tmp_path, pki):
    place = tmp_path / "foreign"
    place.mkdir()
    async with looked_after(store, place, Kind.WATCH) as watched:
        watched.put("tls.crt", pki.leaf().chain_pem)
        watched.put("tls.key", pki.leaf().key_pem)
        assert (await watched.receipt()).codes == ("key_mismatch",)
        watched.put("notes.txt", b"none of your business")
        await watched.looks(2)
        assert len(watched.receipts) == 1
        assert sorted(path.name for path in place.iterdir()) == ["notes.txt", "tls.crt", "tls.key"]


async def test_a_whole_directory_swapped_by_its_symlink_is_followed(store, tmp_path, pki):
    pairs = {"v1": pki.leaf(), "v2": pki.leaf()}
    for name, one in pairs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "all.pem").write_bytes(one.key_pem + one.chain_pem)
    place = tmp_path / "current"
    place.symlink_to("v1")
    async with looked_after(store, place, Kind.WATCH, rescan_s=3600.0) as watched:
        assert (await watched.receipt()).bundle == pairs["v1"].bundle().id
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").rename(place)
        assert (await watched.receipt(1)).bundle == pairs["v2"].bundle().id


AS_NOBODY = """
    import os, sys
    from pathlib import Path
    from certstore.rescan import read_snapshot
    from certstore.snapshot import Kind

    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    for group in read_snapshot(Path(sys.argv[1]), Kind(sys.argv[2])).groups:
        for finding in group.trouble:
            print(finding.code, "certs import" in finding.hint)
        for entry in group.entries:
            print(entry.name, entry.trouble.code, "certs import" in entry.trouble.hint)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("kind", Kind)
def test_what_we_may_not_read_is_a_finding_with_the_deploy_hook_as_its_hint(tmp_path, kind):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "privkey.pem").write_text("x")
    (tmp_path / "place" / "privkey.pem").chmod(0o600)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    command = [sys.executable, "-c", textwrap.dedent(AS_NOBODY), str(tmp_path / "place"), kind.value]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run():
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert run() == "privkey.pem file_unreadable True\n"
    (tmp_path / "place").chmod(0o700)
    assert run() == "directory_unreadable True\n"
