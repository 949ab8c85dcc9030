"""What the API answers, operation by operation, over a real store; and what it never gives away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certstore import Source, slot_id
from tests.controlling import Api, control_api
from tests.intake import corpus
from tests.live.test_broken_candidates import kinds
from tests.pki import Issued, Pki
from tests.storing import candidate_of
from tlsproxy.control.application import OPERATIONS
from tlsproxy.control.openapi import describe
from tlsproxy.control.values import candidate_to_json

NAMES = ("device.test",)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


async def upload(api: Api, issued: Issued, query: str = "") -> dict[str, Any]:
    answer = await api.ask(
        "POST", f"/v1/candidates{query}", json=candidate_to_json(candidate_of(issued), "test")
    )
    document: dict[str, Any] = answer.json()
    assert answer.status_code in {200, 201}, document
    return document


async def get(api: Api, target: str) -> Any:
    answer = await api.ask("GET", target)
    assert answer.status_code == 200, answer.text
    return answer.json()


def slot_target(names: tuple[str, ...] = NAMES) -> str:
    return f"/v1/slots/customer/{slot_id(names)}"


async def test_an_upload_as_a_form_is_live_and_found_again_everywhere(api: Api, pki: Pki) -> None:
    issued = pki.leaf(NAMES)
    files = [("file", ("chain.pem", issued.chain_pem)), ("other", ("key.pem", issued.key_pem))]
    answer = await api.ask("POST", "/v1/candidates?wait=live", files=files, data={"via": "a-web-page"})
    receipt = answer.json()
    assert (answer.status_code, receipt["state"], receipt["via"]) == (201, "confirmed", "a-web-page")
    assert await get(api, answer.headers["location"]) == receipt
    assert (await get(api, "/v1/receipts?limit=1"))["receipts"] == [receipt]
    bundle = receipt["bundle"]
    slot = await get(api, slot_target())
    assert (slot["bundle"], slot["names"], slot["source"]) == (bundle, list(NAMES), "customer")
    assert (await get(api, "/v1/slots"))["slots"] == [slot]
    assert [one["id"] for one in (await get(api, "/v1/bundles"))["bundles"]] == [bundle]
    shown = await get(api, f"/v1/bundles/{bundle}")
    assert [link["subject"] for link in shown["certificates"]] == ["CN=device.test", "CN=Test Intermediate"]
    assert shown["slots"] == [slot]
    number = receipt["generation"]
    (summary,) = (await get(api, "/v1/generations"))["generations"]
    assert (summary["number"], summary["active"], summary["names"]) == (number, True, 1)
    generation = await get(api, f"/v1/generations/{number}")
    assert generation["rows"] == [{"pattern": "device.test", "bundle": bundle, "source": "customer"}]


async def test_certificates_are_downloaded_as_pem_and_keys_by_no_way(api: Api, pki: Pki) -> None:
    issued = pki.leaf(NAMES)
    bundle = (await upload(api, issued))["bundle"]
    chain = await api.ask("GET", f"/v1/bundles/{bundle}/chain.pem")
    assert chain.headers["content-type"] == "application/pem-certificate-chain"
    assert x509.load_pem_x509_certificates(chain.content) == [issued.certificate, *issued.chain]
    leaf = await api.ask("GET", f"/v1/bundles/{bundle}/certificate.pem")
    assert x509.load_pem_x509_certificates(leaf.content) == [issued.certificate]
    secrets = [line for line in issued.key_pem.decode().splitlines() if "-----" not in line]
    for operation in OPERATIONS:
        if operation.method == "GET" and operation.follow is None:
            path = operation.path.replace("{bundle}", bundle).replace("{source}", "customer")
            path = path.replace("{slot}", slot_id(NAMES)).replace("{generation}", "1")
            path = path.replace("{receipt}", api.store.receipts()[0].id)
            path = path.replace("{request}", "0123abcd")
            text = (await api.ask("GET", path)).text
            assert not any(secret in text for secret in secrets), path
            assert "PRIVATE KEY" not in text, path


async def test_a_dry_run_says_what_would_be_and_leaves_no_trace(api: Api, pki: Pki) -> None:
    issued = pki.leaf(NAMES)
    for query in ("?dry_run", "?dry_run=true"):
        rehearsal = await upload(api, issued, query)
        assert rehearsal["bundle"]["id"] == issued.bundle().id
        assert [one["code"] for one in rehearsal["findings"]] == ["gate_skipped"]
    assert (api.store.receipts(), api.store.slots(), api.store.active) == ((), (), None)
    assert api.events.newest == 0
    await upload(api, issued)
    again = await upload(api, issued, "?dry_run")
    assert [one["code"] for one in again["findings"]] == ["already_live"]
    assert len(api.store.receipts()) == 1


async def test_a_dry_run_of_each_broken_candidate_gives_its_code_and_nothing_changes(
    api: Api, pki: Pki
) -> None:
    await upload(api, pki.leaf(NAMES))
    before = api.store.active
    tried = 0
    for kind, dropped in kinds(pki).items():
        files = [(name, content) for name, content in dropped.files.items() if isinstance(content, bytes)]
        if len(files) != len(dropped.files) or sum(len(content) for _, content in files) > 1_900_000:
            continue  # what is no file, or no body
        form = [("file", (name, content)) for name, content in files]
        answer = await api.ask("POST", "/v1/candidates?dry_run", files=form)
        document = answer.json()
        assert (answer.status_code, document["code"]) == (422, "candidate_refused"), kind
        assert dropped.code in [one["code"] for one in document["findings"]], kind
        assert "receipt" not in document
        tried += 1
    assert tried >= 10
    assert api.store.active is before
    assert len(api.store.receipts()) == 1


async def test_a_passphrase_opens_what_is_protected_and_is_in_no_answer(api: Api) -> None:
    one = next(case for case in corpus() if case.name == "p12-openssl-aes")
    form: dict[str, Any] = {"files": [("file", file) for file in one.candidate.files]}
    for word, code in ((None, "passphrase_needed"), ("", "passphrase_needed"), ("no", "passphrase_wrong")):
        data = {} if word is None else {"passphrase": word}
        answer = await api.ask("POST", "/v1/candidates?dry_run", data=data, **form)
        assert [finding["code"] for finding in answer.json()["findings"]] == [code]
    answer = await api.ask("POST", "/v1/candidates?dry_run", data={"passphrase": one.passphrase}, **form)
    assert answer.status_code == 200
    answer = await api.ask("POST", "/v1/candidates", json=candidate_to_json(one.candidate, "test"))
    assert answer.status_code == 201
    for told in (answer.text, str(await get(api, "/v1/receipts"))):
        assert str(one.passphrase) not in told
    for wrong in ("x" * 1025, b"\xff"):
        answer = await api.ask("POST", "/v1/candidates", data={"passphrase": wrong}, **form)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")
        assert "xxx" not in answer.text


async def test_a_refused_candidate_is_422_with_its_findings_and_its_receipt(api: Api, pki: Pki) -> None:
    wrong = (("a.pem", pki.leaf().chain_pem), ("a.key", pki.leaf().key_pem))
    answer = await api.ask("POST", "/v1/candidates", files=[("file", one) for one in wrong])
    document = answer.json()
    assert (answer.status_code, document["code"]) == (422, "candidate_refused")
    assert [one["code"] for one in document["findings"]] == ["key_mismatch"]
    assert document["receipt"] == await get(api, answer.headers["location"])


async def test_a_slot_goes_back_a_generation_comes_back_and_a_slot_is_taken_away(api: Api, pki: Pki) -> None:
    first = await upload(api, pki.leaf(NAMES))
    second = await upload(api, pki.leaf(NAMES))
    other = await upload(api, pki.leaf(("other.test",)))

    back = (await api.ask("POST", f"{slot_target()}/rollback?via=console")).json()
    assert (back["bundle"], back["cause"], back["via"]) == (first["bundle"], "rollback", "console")
    assert (await get(api, slot_target()))["bundle"] == first["bundle"]

    forward = (await api.ask("POST", f"/v1/generations/{second['generation']}/activate")).json()
    assert (forward["state"], forward["cause"], forward["via"]) == ("confirmed", "activation", "api")
    assert (await get(api, slot_target()))["bundle"] == second["bundle"]

    upload_again = await upload(api, pki.leaf(("other.test",)))
    assert upload_again["bundle"] != other["bundle"]
    gone = await api.ask("DELETE", slot_target(("other.test",)))
    assert (gone.status_code, gone.json()["cause"]) == (200, "removal")
    assert (await api.ask("GET", slot_target(("other.test",)))).status_code == 404
    assert (await api.ask("DELETE", slot_target(("other.test",)))).status_code == 404


async def test_what_cannot_go_back_is_refused_with_its_code(api: Api, pki: Pki) -> None:
    await upload(api, pki.leaf(NAMES))
    answer = await api.ask("POST", f"{slot_target()}/rollback")
    document = answer.json()
    assert (answer.status_code, document["findings"][0]["code"]) == (422, "nothing_before")
    assert document["receipt"]["state"] == "refused"
    assert (await api.ask("POST", "/v1/generations/999/activate")).status_code == 404
    assert (await api.ask("POST", "/v1/receipts/000009-0123abcd/confirm")).status_code == 404


async def test_a_change_in_probation_is_live_until_it_is_confirmed(api: Api, pki: Pki) -> None:
    await upload(api, pki.leaf(NAMES))
    receipt = await upload(api, pki.leaf(NAMES), "?confirm_within_s=600")
    assert (receipt["state"], receipt["confirm_within_s"]) == ("live", 600.0)
    answer = await api.ask("POST", f"/v1/receipts/{receipt['id']}/confirm")
    assert (answer.status_code, answer.json()["state"]) == (200, "confirmed")


async def test_what_is_taken_back_before_it_was_confirmed_is_told_once_more(api: Api, pki: Pki) -> None:
    await upload(api, pki.leaf(NAMES))
    receipt = await upload(api, pki.leaf(NAMES), "?confirm_within_s=600")
    await upload(api, pki.leaf(NAMES))
    told = [one.facts for one in api.events.after(0).events if one.facts.get("id") == receipt["id"]]
    assert [one["state"] for one in told] == ["live", "superseded"]


async def test_workers_and_their_connections_are_counted_by_generation(api: Api) -> None:
    workers = (await get(api, "/v1/workers"))["workers"]
    assert [(one["pid"], one["generation"], one["connections"]) for one in workers] == [
        (11, 2, 5),
        (12, 1, 1),
    ]
    assert await get(api, "/v1/connections") == {
        "open": 6,
        "greeting": 1,
        "generations": [{"generation": 2, "connections": 3}, {"generation": 1, "connections": 2}],
    }


async def test_health_says_ready_once_something_is_served(api: Api, pki: Pki) -> None:
    for target in ("/v1/health", "/v1/health/ready"):
        answer = await api.ask("GET", target)
        health = answer.json()
        assert (answer.status_code, health["live"], health["ready"]) == (503, True, False)
        assert [one["code"] for one in health["findings"]] == ["serving_nothing"]
    assert await get(api, "/v1/health/live") == {"live": True}
    await upload(api, pki.leaf(NAMES))
    health = await get(api, "/v1/health")
    assert (health["ready"], health["rung"], health["findings"]) == (True, "wanted", [])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
async def test_each_path_says_what_may_be_done_there_and_refuses_the_rest(api: Api, operation) -> None:
    answer = await api.ask("OPTIONS", operation.path)
    allowed = answer.headers["allow"].split(", ")
    assert answer.status_code == 204
    assert operation.method in allowed
    assert ("HEAD" in allowed) == ("GET" in allowed)
    for method in {"GET", "PUT", "POST", "PATCH", "DELETE", "BREW"} - set(allowed):
        refused = await api.ask(method, operation.path)
        assert (refused.status_code, refused.headers["allow"]) == (405, ", ".join(allowed))


async def test_head_has_the_fields_of_get_and_no_body(api: Api) -> None:
    got, head = await api.ask("GET", "/v1/slots"), await api.ask("HEAD", "/v1/slots")
    assert head.content == b""
    for field in ("content-type", "content-length"):
        assert head.headers[field] == got.headers[field]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("text/html, application/*;q=0.2", 200),
        ("*/*", 200),
        ("text/html", 406),
        ("application/json;q=0, text/*", 406),
    ],
)
async def test_what_nobody_could_read_is_not_sent(api: Api, accept: str, status: int) -> None:
    assert (await api.ask("GET", "/v1/slots", headers={"accept": accept})).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_a_body_of_another_kind_is_415_and_told_which_are_taken(
    api: Api, headers: dict[str, str]
) -> None:
    answer = await api.ask("POST", "/v1/candidates", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert answer.headers["accept-post"] == "application/json, multipart/form-data"


async def test_a_form_without_a_file_or_with_an_unknown_part_does_not_fit(api: Api) -> None:
    file = ("file", ("a.pem", b"x"))
    for files, data in (
        ([("a", (None, b"b"))], {}),
        ([file], {"vai": "x"}),
        ([file] * 33, {}),
        ([file], {"via": "é"}),
    ):
        answer = await api.ask("POST", "/v1/candidates", files=files, data=data)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body"), data
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = await api.ask("POST", "/v1/candidates", content=b"no form", headers=kind)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_the_description_is_served_and_names_every_operation_once(api: Api) -> None:
    served = await get(api, "/v1/openapi.json")
    assert served == json.loads(json.dumps(describe(OPERATIONS)))
    ids = [one["operationId"] for path in served["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS)


def test_the_page_names_every_path_that_the_description_does() -> None:
    page = (Path(__file__).parents[2] / "docs" / "control-api.md").read_text()
    for operation in OPERATIONS:
        path = operation.path.removesuffix("/certificate.pem").removesuffix("/chain.pem")
        assert path in page


def test_sources_in_paths_are_all_that_there_are() -> None:
    parameters = describe(OPERATIONS)["paths"]["/v1/slots/{source}/{slot}"]["get"]["parameters"]
    assert parameters[0]["schema"]["pattern"] == f"^{'|'.join(Source)}$"
