"""Certificate requests over the control API."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certstore import Source, Wish, firstboot, slot_id
from certstore.requesting import MOST
from tests.controlling import Api, control_api
from tests.pki import Pki, to_pem
from tests.requesting import sign
from tests.storing import propose
from tlsproxy import policy_requests
from tlsproxy.control.wishes import wish_from_json, wish_to_json

NAMES = ["192.0.2.1", "device.test"]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with control_api(tmp_path) as api:
        yield api


async def make(api: Api, **wish: Any) -> dict[str, Any]:
    answer = await api.ask("POST", "/v1/requests", json={"names": NAMES, **wish})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/requests/{document['id']}"
    return document


async def test_it_is_made_found_fetched_in_both_forms_and_removed(api: Api) -> None:
    made = await make(api, subject={"organization": "ACME"}, via="a-web-page")
    assert (made["names"], made["via"], made["answered"]) == (NAMES, "a-web-page", False)
    assert made["subject"] == {"common_name": "192.0.2.1", "organization": "ACME"}
    target = f"/v1/requests/{made['id']}"
    assert (await api.ask("GET", target)).json() == made
    assert (await api.ask("GET", "/v1/requests")).json() == {"requests": [made]}
    pem = await api.ask("GET", f"{target}/request.pem")
    assert pem.text == made["pem"]
    der = await api.ask("GET", f"{target}/request.p10")
    assert der.headers["content-type"] == "application/pkcs10"
    assert x509.load_der_x509_csr(der.content) == x509.load_pem_x509_csr(pem.content)
    assert (await api.ask("DELETE", target)).json() == made
    for method in ("GET", "DELETE"):
        gone = await api.ask(method, target)
        assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


async def test_the_answer_is_a_candidate_without_a_key(api: Api, pki: Pki) -> None:
    made = await make(api)
    files = [("file", ("answer.pem", to_pem(sign(pki, made["pem"]), pki.intermediate)))]
    rehearsed = await api.ask("POST", "/v1/candidates?dry_run", files=files)
    assert "request_answered" in [one["code"] for one in rehearsed.json()["findings"]]
    assert len(api.store.requests.all()) == 1
    live = await api.ask("POST", "/v1/candidates?confirm_within_s=600", files=files)
    assert live.status_code == 201, live.text
    assert (await api.ask("GET", f"/v1/requests/{made['id']}")).json()["answered"] is True
    confirmed = await api.ask("POST", f"/v1/receipts/{live.json()['id']}/confirm")
    assert confirmed.json()["state"] == "confirmed"
    assert (await api.ask("GET", "/v1/requests")).json() == {"requests": []}


async def test_a_slot_is_renewed_with_its_names(api: Api, pki: Pki) -> None:
    issued = pki.leaf(tuple(NAMES))
    propose(api.store, issued)
    renews = {"source": "customer", "slot": slot_id(NAMES)}
    made = await make(api, names=[], renews=renews, same_key=True)
    assert (made["names"], made["spki"], made["renews"]) == (
        NAMES,
        issued.bundle().spki,
        issued.bundle().id,
    )
    missing = {"renews": {**renews, "source": "acme"}}
    answer = await api.ask("POST", "/v1/requests", json=missing)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "wish",
    [
        {"names": []},
        {"names": ["no name"]},
        {"names": NAMES, "key_type": "dsa"},
        {"names": NAMES, "subject": {"country": "Germany"}},
        {"names": NAMES, "subject": {"mail": "a@b"}},
        {"names": NAMES, "same_key": True},
        {"names": NAMES, "sort": 1},
        {"renews": {"source": "customer", "slot": "../../x"}},
    ],
    ids=str,
)
async def test_what_can_be_no_request_is_422_and_leaves_nothing(api: Api, wish: dict[str, Any]) -> None:
    answer = await api.ask("POST", "/v1/requests", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")
    assert answer.json()["detail"]
    assert api.store.requests.all() == ()


async def test_one_too_many_is_refused_with_its_code_and_the_audit_log_says_so(api: Api) -> None:
    for _ in range(MOST):
        api.store.requests.make(Wish(("a.test",)), via="x")
    answer = await api.ask("POST", "/v1/requests", json={"names": NAMES})
    document = answer.json()
    assert (answer.status_code, document["code"]) == (422, "request_refused")
    assert [one["code"] for one in document["findings"]] == ["requests_full"]
    (line,) = map(json.loads, (api.store.path / "audit.jsonl").read_text().splitlines())
    assert (line["what"], line["outcome"], line["codes"]) == ("make_request", "failed", ["requests_full"])


async def test_before_the_random_generator_is_ready_it_waits_and_then_says_so(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firstboot, "random_ready", lambda: False)
    monkeypatch.setattr(policy_requests, "RANDOM_S", 0.01)
    answer = await api.ask("POST", "/v1/requests", json={"names": NAMES})
    assert [one["code"] for one in answer.json()["findings"]] == ["random_not_ready"]
    assert api.store.requests.all() == ()


async def test_no_key_is_in_any_answer_nor_in_the_audit_log(api: Api) -> None:
    made = await make(api)
    (file,) = api.store.path.glob("authority/csr/*/key.pem")
    secrets = [line for line in file.read_text().splitlines() if "-----" not in line]
    der = base64.b64decode("".join(secrets))
    for target in ("/v1/requests", *(f"/v1/requests/{made['id']}{end}" for end in ("", "/request.pem"))):
        text = (await api.ask("GET", target)).text
        assert not any(secret in text for secret in secrets)
        assert "PRIVATE KEY" not in text
    assert der[36:68].hex() not in (api.store.path / "audit.jsonl").read_text()


def test_a_wish_goes_over_the_socket_as_it_is() -> None:
    wish = Wish(("a.test",), None, {"country": "DE"}, (Source.CUSTOMER, slot_id(["a.test"])), same_key=True)
    assert wish_from_json(json.dumps(wish_to_json(wish, "cli")).encode()) == (wish, "cli")
