"""Whatever a cipher or group is called, there is something true to say of it."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.policy_reasons import cipher_named, explain
from tlsproxy.policy_tls import GROUPS, PROFILES, TLS12_CIPHERS, TLS13_SUITES

IANA = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}


def known_to_openssl() -> list[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return [cipher["name"] for cipher in context.get_ciphers()]


def test_every_cipher_that_openssl_knows_is_explained_and_only_ours_are_spoken():
    for name in known_to_openssl():
        found = explain(name)
        assert found.kind in {"cipher", "suite"}, name
        assert (found.standing == "spoken by default") == (name in {*TLS12_CIPHERS, *TLS13_SUITES}), name


def test_what_has_forward_secrecy_is_never_said_to_lack_it():
    for name in known_to_openssl():
        if name.startswith(("ECDHE", "DHE", "ADH", "AECDH")):
            assert "no forward secrecy" not in explain(name).why, name


@pytest.mark.parametrize(("iana", "openssl"), IANA.items())
def test_a_cipher_is_known_by_both_its_names(iana, openssl):
    assert cipher_named(iana) == openssl
    assert explain(iana) == explain(openssl)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AES128-SHA", "no forward secrecy"),
        ("TLS_RSA_WITH_AES_128_GCM_SHA256", "no forward secrecy"),
        ("ECDH-RSA-AES128-SHA", "no forward secrecy"),
        ("ECDHE-RSA-AES128-SHA256", "Lucky 13"),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "Lucky 13"),
        ("DES-CBC3-SHA", "Sweet32"),
        ("TLS_RSA_EXPORT_WITH_RC4_40_MD5", "export"),
        ("TLS_RSA_WITH_NULL_SHA256", "doesn't encrypt"),
        ("TLS_DH_anon_WITH_AES_128_CBC_SHA", "nobody proves"),
        ("ADH-AES128-SHA", "nobody proves"),
        ("DHE-RSA-AES128-GCM-SHA256", "finite-field"),
        ("ffdhe2048", "finite-field"),
        ("brainpoolP256r1", "no browser"),
        ("secp521r1", "costs a server several times"),
        ("TLSv1.1", "RFC 8996"),
        ("SSLv3", "POODLE"),
        ("x25519mlkem768", "hybrid"),
        ("nonsense", "no cipher, group or version of that name"),
        ("explanation", "no cipher, group or version of that name"),
    ],
)
def test_the_reason_is_the_right_one(name, words):
    assert words in explain(name).why


@given(st.text(max_size=60))
def test_any_text_gets_an_answer(name):
    assert explain(name).why


def test_no_profile_goes_below_the_floor():
    for policy in PROFILES.values():
        assert all(explain(cipher).standing != "never spoken" for cipher in policy.ciphers)
        assert all(explain(group).standing == "spoken by default" for group in policy.groups)
        assert set(policy.groups) <= set(GROUPS)
        assert set(policy.suites) <= set(TLS13_SUITES)
