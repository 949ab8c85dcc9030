"""Roots for an authority's own TLS, as people hand them in."""

from __future__ import annotations

import pytest

from certstore.issuers.acme.roots import roots_in


def test_comments_in_any_language_hinder_nothing_and_are_not_kept(pki):
    root = pki.root_pem.decode()
    text = f"Wurzelzertifikat für Geräte, корень, \N{REPLACEMENT CHARACTER}\r\n{root}\nnoch eine:\n{root}"
    assert roots_in(text) == root * 2
    assert roots_in(root.replace("\n", "\r\n")).replace("\r", "") == root
    assert roots_in("") == roots_in(" \n") == ""


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA",
        "-----BEGIN CERTIFICATE-----\nÄÄÄÄ\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_what_holds_no_certificate_is_refused(text):
    with pytest.raises(ValueError, match="PEM"):
        roots_in(text)
