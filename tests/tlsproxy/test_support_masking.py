"""What may be secret is taken out, and what isn't stays readable."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pki import Pki
from tlsproxy.support.masking import WITHHELD, masked_configuration, masked_document, masked_text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('password = "hunter2 and more"', f'password = "{WITHHELD}"'),
        ("db_passwd: hunter2, then", f"db_passwd: {WITHHELD}, then"),
        ('{"token": "hunter2", "pid": 7}', f'{{"token": "{WITHHELD}", "pid": 7}}'),
        ("API-Key: hunter2", f"API-Key: {WITHHELD}"),
        ("http://admin:hunter2@10.0.0.1:80/a", f"http://{WITHHELD}@10.0.0.1:80/a"),
        ("GET https://x/y?t=hunter2 done", f"GET https://x/y?{WITHHELD} done"),
        ("sent Bearer hunter2hunter2", f"sent Bearer {WITHHELD}"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2", "<withheld: a private key>"),
    ],
)
def test_a_secret_is_withheld_and_what_stands_around_it_stays(text: str, masked: str) -> None:
    assert masked_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "the private key is not the one of this certificate [key_mismatch]",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        '{"key_type": "EC", "spki_sha256": "aa11"}',
        'tlsproxy_requests_total{route="/api",status="2xx"} 7',
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert masked_text(text) == text


def test_a_key_in_pem_is_withheld_whole_wherever_it_stands(pki: Pki) -> None:
    pem = pki.leaf().key_pem.decode()
    for text in (f"before\n{pem}after", pem + pem, pem[:-40]):
        masked = masked_text(text)
        assert not any(line in masked for line in pem.splitlines()[1:-1])
    assert masked_text(f"before\n{pem}after").split("\n")[0] == "before"


def test_a_configuration_keeps_what_we_know_and_nothing_else() -> None:
    document = {
        "store": "/s",
        "route": [{"path": "/", "upstream": "http://u:hunter2@127.0.0.1", "upsteam": "hunter2"}],
        "acme": {"eab": {"hmac_key": "hunter2", "kid": "a"}, "webhook": "https://x/hunter2"},
        "limits": {"connections": 9, "handshake_s": 1.5},
        "other": {"deep": [["hunter2"]]},
    }
    assert masked_configuration(document, ["route[0].upsteam", "other"]) == {
        "store": "/s",
        "route": [{"path": "/", "upstream": f"http://{WITHHELD}@127.0.0.1", "upsteam": WITHHELD}],
        "acme": {"eab": {"hmac_key": WITHHELD, "kid": "a"}, "webhook": WITHHELD},
        "limits": {"connections": 9, "handshake_s": 1.5},
        "other": WITHHELD,
    }


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
    )
)
def test_any_document_keeps_its_form_and_masking_twice_changes_nothing(document: object) -> None:
    once = masked_document({"password": document, "it": document})
    assert isinstance(once, dict)
    assert once["password"] == WITHHELD
    assert masked_document(once) == once


@pytest.mark.parametrize(
    "piece", ["a-", "://", "token", "x" * 50 + "://a", "-----BEGIN PRIVATE KEY-----", "password='"]
)
def test_a_strangers_text_takes_no_time_that_grows_with_its_square(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    begun = time.process_time()
    masked_text(text)
    assert time.process_time() - begun < 20  # 0.2 s here; a square would be minutes
