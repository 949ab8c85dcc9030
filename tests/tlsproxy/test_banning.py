"""Banned keys by the command line and the API: with a proxy and without, named by a hash or by a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from certstore import Bundle, Identity, InProcess, Reason, Receipt, Source, State, Store, read_bans
from certstore.issuers import selfsigned
from tests.controlling import Api, control_api, now
from tests.pki import Issued, Pki
from tests.serving_here import ServingHere
from tests.storing import candidate_of
from tests.tlsproxy.test_cli_certs_life import Place, place
from tlsproxy import policy
from tlsproxy.caretaker import Caretaker
from tlsproxy.cli.certs import certs
from tlsproxy.cli.reverting import REASON
from tlsproxy.control.values import candidate_to_json
from tlsproxy.errors import ExitCode

__all__ = ["place"]  # a fixture
NAMES = ("device.test",)
DONE, FAILED, MISUSE = ExitCode.DONE, ExitCode.FAILED, ExitCode.MISUSE


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


@pytest.fixture
def files(pki: Pki, tmp_path: Path) -> tuple[Issued, str]:
    issued = pki.leaf()
    path = tmp_path / "new.pem"
    path.write_bytes(issued.chain_pem + issued.key_pem)
    return issued, str(path)


def spki(issued: Issued) -> str:
    return issued.bundle().spki


async def bans(place: Place) -> list[str]:
    return [one["spki"] for one in (await place.command("bans", "--json")).document["bans"]]


async def test_an_import_for_a_lost_key_bans_what_it_replaces_and_lists_tell(place, pki, files):
    lost = pki.leaf()
    place.fill((pki.leaf(issuer=None), Source.GENERATED), (lost, Source.CUSTOMER))
    done = await place.command("import", files[1], "--reason", "key-compromise")
    assert done.code == DONE, done.err
    assert "[now_banned]" in done.out
    assert await bans(place) == [spki(lost)]
    assert spki(lost) in (await place.command("bans")).out
    again = place.path.parent / "again.pem"
    again.write_bytes(lost.chain_pem + lost.key_pem)
    refused = await place.command("import", str(again))
    assert (refused.code, "[key_banned]" in refused.err) == (FAILED, True)
    back = await place.command("rollback", "--source", "customer")
    assert (back.code, "[slot_key_banned]" in back.err) == (FAILED, True)


async def test_a_removal_for_a_lost_key_bans_it(place, pki):
    lost = pki.leaf()
    place.fill((pki.leaf(issuer=None), Source.GENERATED), (lost, Source.CUSTOMER))
    done = await place.command("remove", "--reason", "key-compromise")
    assert done.code == DONE, done.err
    assert await bans(place) == [spki(lost)]


async def test_a_rollback_for_a_lost_key_bans_what_is_gone_back_from(place, pki):
    lost = pki.leaf()
    place.fill((pki.leaf(), Source.CUSTOMER), (lost, Source.CUSTOMER))
    done = await place.command("rollback", "--reason", "key-compromise")
    assert done.code == DONE, done.err
    assert await bans(place) == [spki(lost)]
    misused = await place.command("rollback", "--to", "1", "--reason", "key-compromise")
    assert misused.code == MISUSE


@pytest.mark.parametrize("named_by", ["hash", "hash with colons", "key", "chain"])
async def test_a_key_is_banned_by_its_hash_or_by_a_file(place, pki, tmp_path, named_by):
    lost = pki.leaf()
    place.fill((pki.leaf(issuer=None), Source.GENERATED), (lost, Source.CUSTOMER))
    digest = spki(lost)
    (tmp_path / "lost").write_bytes(lost.key_pem if named_by == "key" else lost.chain_pem)
    word = {
        "hash": digest,
        "hash with colons": ":".join(digest[at : at + 2] for at in range(0, 64, 2)).upper(),
    }.get(named_by, str(tmp_path / "lost"))
    asked = await place.command("ban", word)
    assert (asked.code, "--yes" in asked.err) == (MISUSE, True), "nobody is there who could be asked"
    done = await place.command("ban", word, "--yes")
    assert done.code == DONE, done.err
    assert await bans(place) == [digest]
    listed = (await place.command("list", "--json")).document["certificates"]
    assert [(one["source"], one["state"]) for one in listed] == [
        ("customer", "banned key"),
        ("generated", "served"),
    ]


async def test_where_the_devices_own_key_is_banned_it_has_another_one_at_once(place, pki):
    own = pki.leaf(issuer=None)
    place.fill((own, Source.GENERATED))
    done = await place.command("ban", spki(own), "--yes", "--json")
    assert done.code == DONE, done.err
    (entry,) = (await place.command("list", "--json")).document["certificates"]
    assert (entry["source"], entry["state"]) == ("generated", "served")
    assert entry["spki_sha256"] != spki(own)


async def test_the_hash_of_a_certificate_is_no_key_and_a_file_of_several_is_asked_about(place, pki, tmp_path):
    lost = pki.leaf()
    place.fill((lost, Source.CUSTOMER))
    mistaken = await place.command("ban", lost.bundle().fingerprint, "--yes")
    assert (mistaken.code, spki(lost) in mistaken.err) == (MISUSE, True)
    (tmp_path / "two").write_bytes(lost.key_pem + pki.leaf().key_pem)
    for name in ("two", "none"):
        assert (await place.command("ban", str(tmp_path / name), "--yes")).code == MISUSE
    assert await bans(place) == []


async def test_a_person_at_a_terminal_is_asked(tmp_path, pki, monkeypatch):
    with Store.open(tmp_path / "s", clock=now) as store:
        store.propose(pki.leaf().bundle(), source=Source.CUSTOMER, via="x", examiner=InProcess())
    monkeypatch.setattr("tlsproxy.cli.banning._is_terminal", lambda: True)
    words = ["ban", "ab" * 32, "--store", str(tmp_path / "s")]
    assert CliRunner().invoke(certs, words, input="n\n").exit_code != DONE
    assert read_bans(tmp_path / "s", None)[0] == []
    CliRunner().invoke(certs, words, input="y\n")
    assert [ban.spki for ban in read_bans(tmp_path / "s", None)[0]] == ["ab" * 32]


def test_the_reasons_that_the_command_line_knows_are_the_stores() -> None:
    option = next(one for one in certs.commands["remove"].params if one.name == "reason")
    assert callable(REASON)
    assert list(getattr(option.type, "choices", ())) == [str(reason) for reason in Reason]


async def test_the_api_bans_and_lists(api: Api, pki: Pki) -> None:
    ask = api.ask
    lost, new = pki.leaf(NAMES), pki.leaf(NAMES)
    for issued, query in ((lost, ""), (new, "?reason=key-compromise")):
        body = candidate_to_json(candidate_of(issued), "test")
        assert (await ask("POST", f"/v1/candidates{query}", json=body)).status_code == 201
    (ban,) = (await ask("GET", "/v1/bans")).json()["bans"]
    assert (ban["spki"], ban["since"], ban["via"]) == (spki(lost), 2, "test")
    dry = await ask("POST", "/v1/candidates?dry_run", json=candidate_to_json(candidate_of(lost), "test"))
    assert dry.status_code == 422
    assert [one["code"] for one in dry.json()["findings"]] == ["key_banned"]
    other = "cd" * 32
    for codes in (["now_banned"], ["already_banned"]):
        answer = await ask("PUT", f"/v1/bans/{other}?via=web")
        assert answer.status_code == 200, answer.text
        assert [one["code"] for one in answer.json()["findings"]] == codes
        assert answer.json()["cause"] == "ban"
    assert (await ask("PUT", "/v1/bans/xyz")).status_code in {400, 404}
    assert (await ask("DELETE", f"/v1/bans/{other}")).status_code == 405, "nothing lifts a ban"
    last = await ask("PUT", f"/v1/bans/{spki(new)}")
    assert last.status_code == 200, "the device makes itself another one"
    rows = (await ask("GET", f"/v1/generations/{last.json()['generation']}")).json()["rows"]
    assert {row["source"] for row in rows} == {"generated"}


async def test_a_caretaker_makes_a_new_key_where_its_own_was_banned(tmp_path: Path, pki: Pki) -> None:
    identity = Identity(names=NAMES, serial="", common_name="device.test")
    publishing = ServingHere()
    with Store.open(tmp_path / "s", clock=now, publisher=publishing) as store:
        publishing.load_from(store.bundle)

        def propose(bundle: Bundle) -> Receipt:
            return store.propose(bundle, source=Source.GENERATED, via="identity", examiner=InProcess())

        lost = selfsigned.issue(identity, selfsigned.new_key(), now())
        propose(lost)
        store.propose(pki.leaf().bundle(), source=Source.CUSTOMER, via="x", examiner=InProcess())
        assert store.ban(lost.spki, via="x").state is State.CONFIRMED, "somebody else is served"
        Caretaker(store, publishing, lambda: identity, now, propose)._care()
        own = [slot for slot in store.slots() if slot.source is Source.GENERATED]
        assert [store.is_banned(store.meta(slot.bundle).spki) for slot in own] == [False]


async def test_what_open_connections_were_made_with_stays_known_so_that_a_ban_ends_them(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "GENERATIONS_KEPT", 1)
    publishing = ServingHere()
    key = pki.make_key("ec")
    with Store.open(tmp_path / "s", clock=now, publisher=publishing) as store:
        publishing.load_from(store.bundle)
        first, *renewed = (pki.leaf(key=key).bundle() for _ in range(4))
        for bundle in (first, *renewed):
            store.propose(bundle, source=Source.CUSTOMER, via="x", examiner=InProcess())
        store.propose(pki.leaf(issuer=None).bundle(), source=Source.GENERATED, via="x", examiner=InProcess())
        identity = Identity(names=NAMES, serial="", common_name="device.test")
        caretaker = Caretaker(store, publishing, lambda: identity, now, lambda _: store.receipts()[0])
        caretaker.in_use = lambda: frozenset({1, 5})
        caretaker._prune()
        assert [one.number for one in store.generations()] == [5, 4, 1]
        store.ban(first.spki, via="x")
        ((ended, why),) = publishing.ended
        assert why == "key-compromise"
        assert {first.id, renewed[-1].id} <= ended
