"""Why a request failed is told in the system's words, whatever was raised on top of them."""

from __future__ import annotations

import ssl

import httpx2
import pytest

from certstore.issuers.acme.causes import is_untrusted, why_of


def over(cause: BaseException, error: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (httpx2.ConnectError("nobody"), "nobody"),
        (httpx2.ConnectError(""), "ConnectError"),
        (
            over(OSError(111, "[Errno 111] to 127.0.0.1:9"), httpx2.ConnectError("failed")),
            "Connection refused",
        ),
        (
            over(
                over(ExceptionGroup("", [OSError(113, "x"), OSError(111, "y")]), OSError("all have failed")),
                httpx2.ConnectError(""),
            ),
            "No route to host",
        ),
    ],
)
def test_the_systems_words_are_found(error: Exception, why: str) -> None:
    assert why_of(error) == why
    assert not is_untrusted(error)


def test_a_certificate_that_is_not_trusted_is_told_by_the_tls_librarys_reason() -> None:
    below = ssl.SSLCertVerificationError(1, "certificate verify failed")
    below.verify_message = "self-signed certificate"
    error = over(below, httpx2.ConnectError("[SSL] something"))
    assert is_untrusted(error)
    assert why_of(error) == "self-signed certificate"
