"""Whatever is wrong with what comes in, the served certificate stays as it was, and a receipt says why."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from tests.live.https_client import Client
from tests.live.proxy_process import Proxy, running, write_config

HUGE = b"-----BEGIN CERTIFICATE-----\n" + b"QUJD" * 500_000


@dataclass
class Dropped:
    """Files to put into the inbox: name to content, or what makes the entry."""

    code: str
    files: dict[str, bytes | Callable[[Path], None]]


def make_unreadable(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)


def kinds(pki) -> dict[str, Dropped]:
    """Give every kind of broken candidate; the code that its receipt must have is its own."""
    now = datetime.now(UTC)
    # Each kind has a key of its own: the same content at the same place is told only once.
    good, other, half, key_only, leaf_only = (pki.leaf() for _ in range(5))
    expired = pki.leaf(start=now - timedelta(days=30), days=10)
    authority = pki.leaf(ca=True)
    client_only = pki.leaf(eku=(pki_client_auth(),))
    loop: Callable[[Path], None] = lambda path: path.symlink_to(path.name)  # noqa: E731
    return {
        "mismatched key": Dropped("key_mismatch", {"a.pem": good.chain_pem, "a.key": other.key_pem}),
        "truncated file": Dropped("file_truncated", {"a.pem": half.cert_pem[:-40], "a.key": half.key_pem}),
        "empty file": Dropped("file_empty", {"a.pem": b""}),
        "expired": Dropped("expired", {"a.pem": expired.chain_pem, "a.key": expired.key_pem}),
        "only a key": Dropped("key_without_certificate", {"a.key": key_only.key_pem}),
        "only a leaf": Dropped("certificate_without_key", {"a.pem": leaf_only.cert_pem}),
        "only a chain": Dropped("chain_only", {"a.pem": pki.intermediate_pem}),
        "garbage": Dropped("unparsable", {"a.pem": b"\x00\xff nonsense" * 99}),
        "a directory": Dropped("is_directory", {"a": lambda path: path.mkdir()}),
        "a huge file": Dropped("file_too_large", {"a.pem": HUGE}),
        "a symlink loop": Dropped("symlink_loop", {"a.pem": loop}),
        "a dangling symlink": Dropped("symlink_dangling", {"a.pem": lambda path: path.symlink_to("nowhere")}),
        "a pipe": Dropped("not_a_file", {"a.pem": lambda path: os.mkfifo(path)}),  # noqa: PLW0108  mypy
        "an authority as leaf": Dropped(
            "ca_as_leaf", {"a.pem": authority.chain_pem, "a.key": authority.key_pem}
        ),
        "for clients only": Dropped(
            "not_for_servers", {"a.pem": client_only.chain_pem, "a.key": client_only.key_pem}
        ),
    } | (
        {}
        if os.geteuid() == 0
        else {"an unreadable file": Dropped("file_unreadable", {"a": make_unreadable})}
    )


def pki_client_auth():
    from cryptography.x509.oid import ExtendedKeyUsageOID

    return ExtendedKeyUsageOID.CLIENT_AUTH


async def test_every_kind_of_broken_candidate_gets_its_code_and_changes_nothing(tmp_path, pki):
    dropped = kinds(pki)
    assert len(dropped) >= 12
    assert len({one.code for one in dropped.values()}) == len(dropped)
    served = pki.leaf()
    cert, key = tmp_path / "served.pem", tmp_path / "served.key"
    cert.write_bytes(served.chain_pem)
    key.write_bytes(served.key_pem)
    with trio.fail_after(300):
        async with running(write_config(tmp_path, {"/": "http://127.0.0.1:9"})) as proxy:
            receipt = await proxy.certs_import(cert, key)
            assert receipt["state"] == "confirmed"
            for kind, one in dropped.items():
                since = len(proxy.log)
                for name, content in one.files.items():
                    if callable(content):
                        content(proxy.inbox / name)
                    else:
                        (proxy.inbox / name).write_bytes(content)
                await wait_refused(proxy, one.code, since)  # a deadline of its own
                async with Client.to(proxy.port) as client:
                    assert client.fingerprint == served.bundle().fingerprint, kind
                tidy_away(proxy.inbox)
            status = await proxy.status()
    assert status["generation"] == receipt["generation"]


@pytest.mark.parametrize("kind", ["mismatched key", "expired", "garbage", "a directory", "empty file"])
async def test_import_refuses_with_the_code_and_exit_code_one(tmp_path, pki, kind):
    one = kinds(pki)[kind]
    folder = tmp_path / "files"
    folder.mkdir()
    for name, content in one.files.items():
        if callable(content):
            content(folder / name)
        else:
            (folder / name).write_bytes(content)
    with trio.fail_after(60):
        async with running(write_config(tmp_path, {"/": "http://127.0.0.1:9"})) as proxy:
            before = (await proxy.status())["default"]
            receipt = await proxy.certs_import(*sorted(folder.iterdir(), reverse=True))
            assert receipt["state"] == "refused"
            assert one.code in [finding["code"] for finding in receipt["findings"]]
            assert (await proxy.status())["default"] == before


async def wait_refused(proxy: Proxy, code: str, since: int) -> None:
    """Wait for the receipt with this code; what else lay beside it may get its own first."""
    while True:
        line = await proxy.wait_log("receipt", since=since, state="refused")
        if code in line["codes"]:
            return
        since = proxy.log.index(line) + 1


def tidy_away(inbox: Path) -> None:
    """Remove what a refusal may leave where it is: lone halves, and what is no file."""
    for path in inbox.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
