"""What is told of an address where no authority's directory is."""

from __future__ import annotations

import pytest

from certstore.issuers.acme.errors import AcmeError
from tests.authorities.scripted import Scripted, answer, says
from tests.authorities.store import open_issuer


@pytest.mark.parametrize(
    ("response", "why", "is_lasting"),
    [
        (lambda: answer(404, b"<html>", "text/html"), "it answers 404", True),
        (lambda: answer(403, b"", "text/plain"), "it answers 403", True),
        (lambda: says(404, "malformed", "no such page"), "no such page", True),
        (lambda: answer(200, b"<html>Log in", "text/html"), "it is of the kind text/html", False),
        (lambda: answer(200, {"keys": []}), "newNonce is missing or of the wrong kind", False),
        (lambda: answer(200, {"newNonce": "http://acme.test/nonce"}), "an address begins with", False),
        (lambda: answer(302, b"", Location="http://elsewhere.test/dir"), "an address begins with", False),
    ],
)
async def test_where_no_directory_is_the_url_is_doubted(
    autojump_clock, tmp_path, pki, response, why, is_lasting
) -> None:
    authority = Scripted(pki, lambda _name, _whole: True)
    authority.script = lambda _method, path: response() if path == "/dir" else None
    issuer = open_issuer(tmp_path, authority)
    with pytest.raises(AcmeError) as refused:
        await issuer.register(authority.server, terms_agreed=True)
    error = refused.value
    assert error.code == "acme_directory_missing"
    assert str(error).startswith("there is no ACME directory at https://acme.test/dir: ")
    assert why in str(error)
    assert error.is_lasting is is_lasting
    assert "/acme/acme/directory" in error.hint
    assert not issuer.accounts


@pytest.mark.parametrize(("status", "code"), [(503, "acme_server_failed"), (429, "acme_rate_limited")])
async def test_a_fault_that_passes_says_nothing_against_the_url(
    autojump_clock, tmp_path, pki, status, code
) -> None:
    authority = Scripted(pki, lambda _name, _whole: True)
    authority.script = lambda _method, path: answer(status, b"") if path == "/dir" else None
    with pytest.raises(AcmeError) as refused:
        await open_issuer(tmp_path, authority).directory(authority.server)
    assert refused.value.code == code
