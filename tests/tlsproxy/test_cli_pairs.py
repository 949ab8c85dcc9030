"""`tlsproxy certs` and the control API, where there are an EC and an RSA certificate for the same names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certstore import InProcess, Source, Store
from tests.controlling import control_api
from tests.storing import candidate_of
from tests.tlsproxy.test_cli_certs_life import Place, place
from tlsproxy.control.values import candidate_to_json
from tlsproxy.observe.rendering import render
from tlsproxy.observe.status import Place as Lying
from tlsproxy.observe.status import Rung, Status, StoreFacts, describe

__all__ = ["place"]

NAMES = ("device.test",)


def written(folder: Path, **issued: Any) -> list[str]:
    files = []
    for name, one in issued.items():
        for suffix, content in ((".pem", one.chain_pem), (".key", one.key_pem)):
            (folder / (name + suffix)).write_bytes(content)
            files.append(str(folder / (name + suffix)))
    return files


@pytest.fixture
def ec(pki):
    return pki.leaf(NAMES)


@pytest.fixture
def rsa(pki):
    return pki.leaf(NAMES, key="rsa")


async def test_both_are_listed_shown_exported_and_taken_back(place: Place, tmp_path, pki, ec, rsa):
    done = await place.command("import", *written(tmp_path, ec=ec, rsa=rsa), "--json")
    assert done.code == 0, done.out + done.err
    assert (done.document["bundle"], done.document["beside"]) == (ec.bundle().id, rsa.bundle().id)
    (one,) = [
        one for one in (await place.command("list", "--json")).document["certificates"]
        if one["source"] == "customer"
    ]  # fmt: skip
    assert (one["key_type"], one["state"], one["default"]) == ("EC", "served", True)
    beside = one["beside"]
    assert (beside["key_type"], beside["state"], beside["served_to"]) == ("RSA", "served", ["device.test"])
    listed = (await place.command("list")).out
    assert "served, EC   " in listed
    assert "served, RSA  " in listed
    assert ec.bundle().fingerprint[:16] in listed
    assert rsa.bundle().fingerprint[:16] in listed
    shown = (await place.command("show", "device.test")).out
    assert "beside it" in shown
    assert rsa.bundle().id in shown
    document = (await place.command("show", "device.test", "--json")).document
    assert document["beside"]["chain"][0]["fingerprint"] == rsa.bundle().fingerprint
    exported = await place.command("export", rsa.bundle().fingerprint[:20])
    assert exported.out.encode() == rsa.chain_pem
    renewed = pki.leaf(NAMES)
    done = await place.command("import", *written(tmp_path, new=renewed), "--json")
    assert "beside_gone" in [finding["code"] for finding in done.document["findings"]]
    done = await place.command("rollback", "device.test", "--json")
    assert (done.document["bundle"], done.document["beside"]) == (ec.bundle().id, rsa.bundle().id)


async def test_one_is_put_beside_another_by_an_option(place: Place, tmp_path, pki, ec, rsa):
    place.fill((pki.leaf(("other.test",)), Source.CUSTOMER))
    files = written(tmp_path, rsa=rsa)
    refused = await place.command("import", *files, "--beside", "--dry-run")
    assert refused.code == 1
    assert "nothing_beside" in refused.err
    refused = await place.command("import", *files, "--beside")
    assert refused.code == 1
    assert "nothing_beside" in refused.err
    await place.command("import", *written(tmp_path, ec=ec))
    done = await place.command("import", *files, "--beside", "--dry-run")
    assert done.code == 0, done.err
    done = await place.command("import", *files, "--beside", "--json")
    assert (done.document["bundle"], done.document["beside"]) == (ec.bundle().id, rsa.bundle().id)


async def test_the_api_tells_of_both(tmp_path, pki, ec, rsa):
    async with control_api(tmp_path / "store") as api:
        body = candidate_to_json(candidate_of(ec), "test")
        body["files"] += candidate_to_json(candidate_of(rsa), "test")["files"]  # type: ignore[operator]
        rehearsed = (await api.ask("POST", "/v1/candidates?dry_run", json=body)).json()
        assert rehearsed["bundle"]["id"] == ec.bundle().id
        assert rehearsed["beside"]["id"] == rsa.bundle().id
        receipt = (await api.ask("POST", "/v1/candidates", json=body)).json()
        assert receipt["beside"] == rsa.bundle().id
        renewed = pki.leaf(NAMES, key="rsa")
        body = candidate_to_json(candidate_of(renewed), "test")
        receipt = (await api.ask("POST", "/v1/candidates?beside", json=body)).json()
        assert (receipt["bundle"], receipt["beside"]) == (ec.bundle().id, renewed.bundle().id)
        slots = (await api.ask("GET", "/v1/slots")).json()["slots"]
        assert [slot["beside"] for slot in slots] == [slot["confirmed_beside"] for slot in slots]
        generation = (await api.ask("GET", f"/v1/generations/{receipt['generation']}")).json()
        assert [row["beside"] for row in generation["rows"]] == [renewed.bundle().id]
        assert generation["default_beside"] == renewed.bundle().id
        bundles = (await api.ask("GET", "/v1/bundles")).json()["bundles"]
        assert {one["id"] for one in bundles} == {ec.bundle().id, renewed.bundle().id}


def test_a_status_has_both_the_default_first(tmp_path, now, pki, ec, rsa):
    with Store.open(tmp_path / "store", clock=lambda: now) as store:
        store.propose(ec.bundle(), source=Source.CUSTOMER, via="t", examiner=InProcess())
        store.propose(rsa.bundle(), source=Source.CUSTOMER, via="t", examiner=InProcess(), beside=True)
        facts = StoreFacts(store.active, store.slots(), store.receipts(), store.bundle, True)
        status = describe(facts, place=Lying("", "", ""), now=now)
    assert status.rung is Rung.WANTED
    assert [one.key_type for one in status.bundles] == ["EC", "RSA"]
    assert {one.source for one in status.bundles} == {"customer"}
    assert status.served_to(rsa.bundle().id) == ["device.test", "everything else"]
    assert render(status).count("served to  device.test, everything else") == 2
    assert Status.from_json(status.to_json()) == status


def test_where_strangers_are_refused_nobody_is_told_that_they_are_served(tmp_path, now, ec):
    with Store.open(tmp_path / "store", clock=lambda: now) as store:
        store.propose(ec.bundle(), source=Source.CUSTOMER, via="t", examiner=InProcess())
        facts = StoreFacts(store.active, store.slots(), store.receipts(), store.bundle, True)
        status = replace(describe(facts, place=Lying("", "", ""), now=now), strict_names=True)
    assert "served to  device.test, nobody else (strict_names)" in render(status)
    assert Status.from_json(status.to_json()).strict_names
