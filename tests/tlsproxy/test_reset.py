"""A factory reset by the API and by the command line, with a proxy and without one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from certstore import InProcess, Source
from certstore.inbox import Inbox
from certstore.snapshot import Kind
from tests.controlling import Api, control_api, now, resetter_of
from tests.inboxing import TIMING
from tests.storing import propose
from tlsproxy.cli import main
from tlsproxy.cli.either import open_store
from tlsproxy.errors import ExitCode
from tlsproxy.observe.audit import ITSELF, AuditLog


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


def fill(store: Any, pki: Any) -> None:
    propose(store, pki.leaf(names=("own.test",), issuer=None), Source.GENERATED)
    propose(store, pki.leaf())


async def test_a_reset_by_the_api_is_answered_with_its_receipt_and_audited(api: Api, pki: Any) -> None:
    fill(api.store, pki)
    answer = await api.ask("POST", "/v1/reset", json={"confirm": "reset", "via": "page"})
    receipt = answer.json()
    assert (answer.status_code, receipt["state"], receipt["cause"]) == (200, "confirmed", "reset")
    assert [slot.source for slot in api.store.slots()] == [Source.GENERATED]
    lines = [json.loads(line) for line in (api.store.path / "audit.jsonl").read_text().splitlines()]
    assert (lines[-1]["what"], lines[-1]["by"], lines[-1]["via"]) == ("reset", "socket", "page")
    assert api.store.watches_suspended
    for changed in (True, False):
        answer = await api.ask("POST", "/v1/watches/enable")
        assert answer.json() == {"enabled": True, "changed": changed}
    lines = [json.loads(line) for line in (api.store.path / "audit.jsonl").read_text().splitlines()]
    assert [line["what"] for line in lines].count("enable_watches") == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"confirm": "yes"}, 422),
        ({"confirm": True}, 422),
        ({"confirm": "reset", "scopes": []}, 422),
        ({"confirm": "reset", "scopes": ["factory"]}, 422),
        ({"confirm": "reset", "scope": ["customer"]}, 422),
    ],
)
async def test_nobody_resets_by_mistake(api: Api, pki: Any, body: dict[str, Any], status: int) -> None:
    fill(api.store, pki)
    before = api.store.active
    answer = await api.ask("POST", "/v1/reset", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, "invalid_body")
    assert (await api.ask("POST", "/v1/reset")).status_code in {400, 415}
    assert api.store.active is before


async def test_the_audit_log_goes_only_where_it_is_meant_and_begins_anew_with_the_reset(
    api: Api, pki: Any
) -> None:
    fill(api.store, pki)
    AuditLog(api.store.path, now).note(ITSELF, "before", "done")
    for scopes, kept in ((["customer"], True), (["audit"], False)):
        number = api.store.active and api.store.active.number
        answer = await api.ask("POST", "/v1/reset", json={"confirm": "reset", "scopes": scopes})
        assert answer.status_code == 200, answer.text
        assert answer.json()["generation"] == (number or 0) + 1
        lines = [json.loads(line) for line in (api.store.path / "audit.jsonl").read_text().splitlines()]
        assert (lines[0]["what"] == "before") == kept
        assert lines[-1]["what"] == "reset"


@asynccontextmanager
async def watching(api: Api, path: Path, kind: Kind) -> AsyncIterator[Inbox]:
    via = "inbox" if kind is Kind.INBOX else f"watch:{path}"
    inbox = Inbox(
        store=api.store,
        path=path,
        kind=kind,
        source=Source.CUSTOMER,
        via=via,
        examiner=InProcess(),
        clock=lambda: datetime.now(UTC),
        on_receipt=api.controller.tell,
        timing=TIMING,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(inbox.run)
        yield inbox
        nursery.cancel_scope.cancel()


async def until(condition: Any) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110  a store has no event
            await trio.sleep(0.02)


async def test_a_watched_directory_brings_nothing_back_until_it_is_enabled(
    api: Api, pki: Any, tmp_path: Path
) -> None:
    fill(api.store, pki)
    folder, issued = tmp_path / "certbot", pki.leaf(names=("watched.test",))
    folder.mkdir()
    (folder / "all.pem").write_bytes(issued.chain_pem + issued.key_pem)
    bundle = issued.bundle().id

    def is_served() -> bool:
        return bundle in {slot.bundle for slot in api.store.slots()}

    async with watching(api, folder, Kind.WATCH) as inbox:
        await until(is_served)
        resetter = resetter_of(api.controller, [inbox])
        peer: Any = type("Peer", (), {"uid": 0, "pid": 1})
        await resetter.reset(["customer", "identity"], "test", peer)
        assert not is_served()
        for _ in range(3):
            (folder / "all.pem").touch()
            inbox.hint()
            await until(lambda: {finding.code for finding in inbox.troubles} == {"watch_suspended"})
            assert not is_served()
        assert await resetter.enable_watches(peer)
        await until(is_served)
        await until(lambda: inbox.troubles == frozenset())


async def test_what_an_inbox_was_about_to_propose_when_a_reset_came_is_not_proposed_after_it(
    api: Api, pki: Any, tmp_path: Path
) -> None:
    """The reset waits for the look under way, and the next look finds nothing."""
    fill(api.store, pki)
    folder = api.controller.config.inbox
    folder.mkdir(parents=True)
    peer: Any = type("Peer", (), {"uid": 0, "pid": 1})
    async with watching(api, folder, Kind.INBOX) as inbox:
        resetter = resetter_of(api.controller, [inbox])
        for number in range(5):
            issued = pki.leaf(names=(f"n{number}.test",))
            (folder / "all.pem").write_bytes(issued.chain_pem + issued.key_pem)
            with trio.move_on_after(0.05 * number):  # at another moment of its way each time
                await trio.sleep_forever()
            await resetter.reset(["customer"], "test", peer)
            assert [slot.source for slot in api.store.slots()] == [Source.GENERATED]
            assert list(folder.iterdir()) == []
        inbox.hint()
        for _ in range(3):
            async with inbox.at_rest():
                pass
        assert [slot.source for slot in api.store.slots()] == [Source.GENERATED]


@pytest.fixture
def store(tmp_path: Path, pki: Any) -> Path:
    path = tmp_path / "store"
    with open_store(path, 0.0) as held:
        fill(held, pki)
    (path / "inbox").mkdir()
    (path / "inbox" / "old.pem").write_bytes(b"x")
    return path


def test_the_command_says_what_it_would_erase_and_does_it_only_when_told_to(store, capsys):
    before = {path: path.read_bytes() for path in store.rglob("*.pem")}
    assert main(["reset", "--store", str(store)]) == ExitCode.MISUSE
    assert "customer, identity" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in store.rglob("*.pem")} == before
    assert main(["reset", "--yes", "--store", str(store)]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert "erased: customer, identity; generation 3" in out
    assert "flash may hold their bytes" in out
    assert f"tlsproxy watches enable --store {store}" in out
    assert not any(path.exists() for path in before)
    lines = [json.loads(line) for line in (store / "audit.jsonl").read_text().splitlines()]
    assert [(line["what"], line["by"]) for line in lines] == [("reset", "command")]


@pytest.mark.parametrize(
    ("words", "sources"),
    [
        (["--scope", "identity"], ["customer", "generated"]),
        (["--scope", "customer"], ["generated"]),
        (["--scope", "all"], ["generated"]),
        (["--scope", "audit"], ["customer", "generated"]),
    ],
)
def test_scopes_say_what_goes(store, capsys, words, sources):
    assert main(["reset", "--yes", "--store", str(store), "--json", *words]) == ExitCode.DONE
    document = json.loads(capsys.readouterr().out)
    assert (document["state"], document["cause"], document["running"]) == ("confirmed", "reset", False)
    with open_store(store, 0.0) as held:
        assert [str(slot.source) for slot in held.slots()] == sources
    assert (store / "inbox" / "old.pem").exists() == ("customer" in sources)


def test_watches_are_enabled_by_the_command_and_it_says_where_they_were(store, capsys):
    main(["reset", "--yes", "--store", str(store)])
    capsys.readouterr()
    assert main(["watches", "enable", "--store", str(store)]) == ExitCode.DONE
    assert capsys.readouterr().out == "watched directories are looked at\n"
    assert main(["watches", "enable", "--store", str(store), "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out) == {"enabled": True, "changed": False, "running": False}


async def test_the_command_asks_the_running_proxy(api: Api, pki: Any) -> None:
    fill(api.store, pki)
    receipt = await api.client(lambda client: client.reset(["customer", "identity"], "cli"))
    assert (receipt.state, receipt.via) == ("confirmed", "cli")
    assert await api.client(lambda client: client.enable_watches())
