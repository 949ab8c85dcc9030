"""The table [tls]: profiles, the floor below which nothing can be configured, and what its mistakes say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsproxy.config.reading import read
from tlsproxy.config.values import TLSConfig
from tlsproxy.policy_tls import GROUPS, PROFILES, TICKET_S, TLS12_CIPHERS, Profile, TLSPolicy, group_list

GOOD = """
store = "s"
[[listener]]
address = "127.0.0.1:8443"
[[route]]
upstream = "http://127.0.0.1:3000"
[tls]
{tls}
"""


def tls_of(tls: str) -> TLSConfig:
    found = read(GOOD.format(tls=tls), Path("/etc/x"))
    assert found.config is not None, found.mistakes
    return found.config.tls


def mistakes_of(tls: str) -> str:
    found = read(GOOD.format(tls=tls), Path("/etc/x"))
    assert found.config is None
    return "\n".join(f"{mistake}\n{mistake.hint}" for mistake in found.mistakes)


def test_nothing_said_is_the_intermediate_profile():
    assert tls_of("") == TLSConfig("auto", TLSPolicy(), TICKET_S)
    assert tls_of("").policy == PROFILES[Profile.INTERMEDIATE]


@pytest.mark.parametrize("profile", list(PROFILES))
def test_a_profile_is_taken_by_its_name(profile):
    assert tls_of(f'profile = "{profile}"').policy == PROFILES[profile]


def test_a_custom_policy_says_all_that_a_profile_would():
    policy = tls_of(
        'profile = "custom"\nminimum = "1.2"\ngroups = ["secp384r1", "x25519"]\n'
        'ciphers = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]\nsuites = ["tls_aes_256_gcm_sha384"]\n'
        "tickets = false\nstrict_names = true"
    ).policy
    assert policy.groups == ("P-384", "X25519")
    assert policy.ciphers == ("ECDHE-ECDSA-AES256-GCM-SHA384",)
    assert policy.suites == ("TLS_AES_256_GCM_SHA384",)
    assert policy.strict_names
    assert not policy.tickets


def test_a_custom_policy_without_more_is_the_default():
    policy = tls_of('profile = "custom"').policy
    assert (policy.ciphers, policy.groups, policy.minimum) == (TLS12_CIPHERS, GROUPS, "1.2")


def test_a_custom_policy_of_tls13_alone_has_no_ciphers_of_tls12():
    policy = tls_of('profile = "custom"\nminimum = "1.3"').policy
    assert policy.is_tls13_only
    assert policy.ciphers == ()


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ('profile = "old"', "'old' is none of modern, intermediate, pq-only, custom"),
        ('profile = "custom"\nciphers = ["AES128-SHA"]', "below the floor: no forward secrecy"),
        ('profile = "custom"\nciphers = ["ECDHE-RSA-AES128-SHA"]', "below the floor: CBC"),
        ('profile = "custom"\nciphers = ["HIGH:!aNULL"]', "below the floor: it is no name of one"),
        ('profile = "custom"\nciphers = ["TLS_AES_128_GCM_SHA256"]', "it stands in suites"),
        ('profile = "custom"\nciphers = []', "nobody could connect"),
        ('profile = "custom"\nciphers = ["ECDHE-RSA-AES128-GCM-SHA256"]', "own certificate has an EC key"),
        ('profile = "custom"\ngroups = ["ffdhe2048"]', "below the floor: finite-field"),
        ('profile = "custom"\ngroups = ["MLKEM768"]', "take a hybrid group"),
        ('profile = "custom"\ngroups = ["X25519MLKEM768"]', "TLS 1.2 has no hybrid"),
        ('profile = "custom"\ngroups = []', "nobody could connect"),
        ('profile = "custom"\nsuites = ["TLS_AES_128_CCM_SHA256"]', "no suite that may stand here"),
        ('profile = "custom"\nminimum = "1.1"', "1.2"),
        ('profile = "custom"\nminimum = "1.3"\nciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256"]', "isn't spoken"),
        ('profile = "modern"\ngroups = ["X25519"]', 'to choose: profile = "custom"'),
        ('minimum = "1.3"', 'the profile "intermediate" says that itself'),
        ("ticket_s = 0", "more than 0"),
    ],
)
def test_below_the_floor_nothing_can_be_configured(tls, words):
    assert words in mistakes_of(tls)


def test_hybrid_groups_stand_in_a_tuple_before_the_others():
    hybrid, plain = "X25519MLKEM768:SecP256r1MLKEM768", "X25519:P-256:P-384"
    assert group_list(GROUPS, has_hybrid=True) == f"{hybrid}/{plain}"
    assert group_list(GROUPS, has_hybrid=False) == plain
    assert group_list(("X25519", "X25519MLKEM768"), has_hybrid=True) == "X25519/X25519MLKEM768"
