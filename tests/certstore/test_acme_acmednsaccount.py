"""An account at an acme-dns server, as that one answers it, and as it is kept."""

from __future__ import annotations

import json

import pytest

from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount

ANSWER = {
    "username": "eabcdb41-d89f-4580-826f-3e62e9755ef2",
    "password": "pbAXVjlIOE01xbut7YnAbkhMQIkcwoHO0ek2j4Q0",
    "fulldomain": "d420c923-bbd7-4056-ab64-c3ca54c9b3cf.Auth.example.org.",
    "subdomain": "d420c923-bbd7-4056-ab64-c3ca54c9b3cf",
    "allowfrom": ["192.168.100.1/24"],
}


def test_what_register_answers_is_read_and_kept():
    account = AcmeDnsAccount.registered("https://auth.example.org/", json.dumps(ANSWER))
    assert account.url == "https://auth.example.org"
    assert account.fulldomain == "d420c923-bbd7-4056-ab64-c3ca54c9b3cf.auth.example.org"
    assert AcmeDnsAccount.from_json(account.to_json()) == account
    assert str(ANSWER["password"]) not in repr(account)


@pytest.mark.parametrize(
    ("url", "change"),
    [
        ("http://auth.example.org", {}),
        ("https://me:secret@auth.example.org", {}),
        ("https://auth.example.org", {"password": "a\r\nX-Evil: 1"}),
        ("https://auth.example.org", {"password": ""}),
        ("https://auth.example.org", {"username": 7}),
        ("https://auth.example.org", {"fulldomain": "a b"}),
        ("https://auth.example.org", {"subdomain": "x" * 300}),
    ],
)
def test_what_can_be_none_is_refused(url, change):
    with pytest.raises(ValueError, match="acme-dns"):
        AcmeDnsAccount.registered(url, json.dumps({**ANSWER, **change}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"x"', "[" * 100_000])
def test_what_is_no_answer_is_refused(text):
    with pytest.raises(ValueError, match="POST /register"):
        AcmeDnsAccount.registered("https://auth.example.org", text)
