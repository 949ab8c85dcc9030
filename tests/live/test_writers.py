"""Everybody who may change a store, at once: one order, nothing lost, and nobody in another's place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest
import trio

from certstore import Receipt, Source, State, Store
from tests.authorities.pebble import Pebble
from tests.crash.wholeness import assert_consistent
from tests.live.https_client import Client
from tests.live.peers import http_service
from tests.live.proxy_process import Proxy, running, write_config
from tests.live.test_acme import acme, directory, pebble, scene
from tests.pki import Issued, Pki
from tests.storing import candidate_of
from tlsproxy.control.values import candidate_to_json

__all__ = ["pebble"]  # a fixture
DEADLINE_S = 180


@pytest.fixture
async def upstream() -> AsyncIterator[int]:
    async with http_service() as port:
        yield port


def whole(issued: Issued) -> bytes:
    return issued.chain_pem + issued.key_pem


async def by_command(proxy: Proxy, folder: Path, certificates: list[Issued]) -> None:
    for number, issued in enumerate(certificates):
        path = folder / f"command-{number}.pem"
        path.write_bytes(whole(issued))
        receipt = await proxy.certs_import(path)
        assert receipt["state"] in {"confirmed", "superseded"}


async def by_api(proxy: Proxy, certificates: list[Issued]) -> None:
    transport = httpx2.AsyncHTTPTransport(uds=str(proxy.store / "run" / "control.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x", timeout=60) as client:
        for issued in certificates:
            body = candidate_to_json(candidate_of(issued), "api")
            answer = await client.post("/v1/candidates", json=body)
            assert answer.status_code == 201, answer.text


async def by_files(folder: Path, certificates: list[Issued]) -> None:
    for number, issued in enumerate(certificates):
        (folder / f"{number}.pem").write_bytes(whole(issued))
        await trio.lowlevel.checkpoint()


async def keep_asking(port: int, seen: set[str]) -> None:
    """Be a client that must be served whatever happens."""
    while True:
        async with Client.to(port) as client:
            seen.add(client.fingerprint)
            assert (await client.get("/")).status == 200


async def wait_settled(proxy: Proxy, ids: set[str]) -> None:
    """Wait until a receipt was told for each of these bundles."""
    for id_ in ids:
        await proxy.wait_log("receipt", bundle=id_)


async def test_command_api_inbox_and_another_program_write_at_once(
    tmp_path: Path, pki: Pki, upstream: int
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    watch = f'[[watch]]\npath = "{other}"\nslot = "acme"'
    config = write_config(tmp_path, {"/": f"http://127.0.0.1:{upstream}"}, more=watch)
    commanded, asked, dropped, watched = ([pki.leaf() for _ in range(n)] for n in (3, 8, 6, 4))
    customers = {one.bundle().id for one in (*commanded, *asked, *dropped)}
    others = {one.bundle().id for one in watched}
    seen: set[str] = set()
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy, trio.open_nursery() as clients:
            clients.start_soon(keep_asking, proxy.port, seen)
            async with trio.open_nursery() as writers:
                writers.start_soon(by_command, proxy, tmp_path, commanded)
                writers.start_soon(by_api, proxy, asked)
                writers.start_soon(by_files, proxy.inbox, dropped)
                writers.start_soon(by_files, other, watched)
            await wait_settled(proxy, customers | others)
            async with Client.to(proxy.port) as client:
                last = client.fingerprint
            clients.cancel_scope.cancel()
    with Store.open(proxy.store, clock=lambda: datetime.now(UTC)) as store:
        assert store.recovered == ()
        assert_consistent(store)
        receipts = [one for one in reversed(store.receipts(500)) if one.via != "identity"]
        slots = {slot.source: slot for slot in store.slots()}
    assert_one_order(receipts)
    assert {one.bundle for one in receipts if one.source is Source.CUSTOMER} == customers  # nothing is lost
    assert {one.bundle for one in receipts if one.source is Source.ACME} == others
    assert {one.via for one in receipts if one.source is Source.CUSTOMER} == {"cli", "api", "inbox"}
    for source in (Source.CUSTOMER, Source.ACME):
        newest = [one for one in receipts if one.source is source][-1]
        assert (slots[source].bundle, slots[source].receipt) == (newest.bundle, newest.id)
    known = {one.bundle().id: one.bundle().fingerprint for one in (*commanded, *asked, *dropped)}
    assert last == known[slots[Source.CUSTOMER].bundle]
    assert not seen & {one.bundle().fingerprint for one in watched} or seen & set(known.values())


async def test_an_acme_authority_writes_beside_the_customer(tmp_path: Path, pki: Pki, pebble: Pebble) -> None:
    """The keeper's certificates go into ACME's place, whoever else writes meanwhile."""
    commanded, asked, dropped = ([pki.leaf() for _ in range(n)] for n in (3, 6, 4))
    customers = {one.bundle().id for one in (*commanded, *asked, *dropped)}
    issued, seen = list[object](), set[str]()

    async def by_acme(proxy: Proxy) -> None:
        words = (*directory(pebble, tmp_path), "--name", "device.test")
        issued.append((await acme(proxy, "enable", *words))["sha256"])
        for _ in range(2):
            issued.append((await acme(proxy, "renew"))["sha256"])

    with trio.fail_after(DEADLINE_S):
        async with scene(tmp_path, pebble) as (proxy, _), trio.open_nursery() as clients:
            clients.start_soon(keep_asking, proxy.port, seen)
            async with trio.open_nursery() as writers:
                writers.start_soon(by_acme, proxy)
                writers.start_soon(by_command, proxy, tmp_path, commanded)
                writers.start_soon(by_api, proxy, asked)
                writers.start_soon(by_files, proxy.inbox, dropped)
            await wait_settled(proxy, customers)
            clients.cancel_scope.cancel()
    with Store.open(proxy.store, clock=lambda: datetime.now(UTC)) as store:
        assert_consistent(store)
        receipts = [one for one in reversed(store.receipts(500)) if one.via != "identity"]
        slots = {slot.source: slot for slot in store.slots()}
        assert store.bundle(slots[Source.ACME].bundle).fingerprint == issued[-1]
    assert_one_order(receipts)
    assert {one.bundle for one in receipts if one.source is Source.CUSTOMER} == customers
    assert [one.via for one in receipts if one.source is Source.ACME] == ["acme"] * 3
    assert len(set(issued)) == 3
    assert slots[Source.CUSTOMER].bundle in customers


def assert_one_order(receipts: list[Receipt]) -> None:
    """Each was live before the next was received, and each made a generation of its own."""
    assert {one.state for one in receipts} <= {State.CONFIRMED, State.SUPERSEDED}
    numbers = [one.generation for one in receipts]
    assert None not in numbers
    assert numbers == sorted(set(numbers), key=lambda number: number or 0)
    for first, second in pairwise(receipts):
        assert first.live_at is not None
        assert second.received_at is not None
        assert first.live_at <= second.received_at
