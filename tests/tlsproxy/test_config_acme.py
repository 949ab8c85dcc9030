"""Configuration of ACME: what the device's maker has set up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tlsproxy.test_config_observing import config_of, mistake_of
from tlsproxy.config.values import AcmeConfig, EnrolmentConfig


def test_without_a_table_nothing_is_set_up() -> None:
    assert config_of().acme == AcmeConfig()


def test_a_command_sets_records() -> None:
    acme = config_of(more='[acme]\ndns_hook = ["/usr/lib/hook", "--unit", "7"]\ndns_hook_s = 5').acme
    assert (acme.dns_hook, acme.dns_hook_s) == (("/usr/lib/hook", "--unit", "7"), 5.0)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('dns_hook = ["hook"]', "line 9: acme.dns_hook: 'hook' is no absolute path"),
        ('dns_hook = "/bin/hook"', "acme.dns_hook: expected a list"),
        ("dns_hook_s = 0", "acme.dns_hook_s: 0 must be more than 0"),
        (r'dns_hook = ["/bin/hook", "a\u0000b"]', "acme.dns_hook: a word of a command holds NUL"),
        (r'profile = "a\u001bb"', r"acme.profile: 'a\x1bb' holds what can't be printed"),
        (r'contacts = ["a@ca.test\n"]', r"acme.contacts: 'a@ca.test\n' holds what can't be printed"),
        ("dns_hok = []", "acme.dns_hok: unknown key"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(table: str, why: str) -> None:
    assert why in mistake_of(more=f"[acme]\n{table}")


PLAIN = '[[listener]]\naddress = "127.0.0.1:8080"\nkind = "http"\n'
WHOLE = """
directory = "https://ca.test/dir"
names = ["Device.example", "192.0.2.7"]
challenge = "tls-alpn-01"
key_type = "ec384"
beside = "rsa3072"
profile = "short"
preferred_chain = "Root"
contacts = ["a@ca.test"]
agree_tos = true
ca_file = "root.pem"
eab_kid = "kid"
eab_key_file = "mac.txt"
keep_key = true
pause_in_shadow = true
fallback_directory = "https://other.test/dir"
fallback_ca_file = "/other.pem"
fallback_eab_kid = "kid-2"
fallback_eab_key_file = "other.txt"
"""


def test_a_certificate_is_wanted_by_every_key() -> None:
    wanted = config_of(more=f"[acme]{WHOLE}").acme.enrolment
    assert wanted == EnrolmentConfig(
        directory="https://ca.test/dir",
        names=("device.example", "192.0.2.7"),
        challenge="tls-alpn-01",
        key_type="ec384",
        beside="rsa3072",
        profile="short",
        preferred_chain="Root",
        contacts=("a@ca.test",),
        agree_tos=True,
        ca_file=Path("/etc/x/root.pem"),
        eab_kid="kid",
        eab_key_file=Path("/etc/x/mac.txt"),
        keep_key=True,
        pause_in_shadow=True,
        fallback_directory="https://other.test/dir",
        fallback_ca_file=Path("/other.pem"),
        fallback_eab_kid="kid-2",
        fallback_eab_key_file=Path("/etc/x/other.txt"),
    )


def test_without_names_it_is_for_what_the_device_is_called() -> None:
    more = f'{PLAIN}[identity]\nnames = ["a.example"]\n[acme]\ndirectory = "https://ca.test/dir"'
    wanted = config_of(more=more).acme.enrolment
    assert wanted is not None
    assert (wanted.names, wanted.challenge) == (("a.example",), "http-01")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("", "acme.challenge: http-01 is looked for at a listener of the kind http"),
        (
            'directory = "http://ca.test/dir"',
            "acme.directory: 'http://ca.test/dir' is no authority's directory",
        ),
        ('challenge = "dns-01"', "acme.challenge: dns-01 needs a command that sets records"),
        ('challenge = "magic"', "acme.challenge: "),
        (
            'challenge = "tls-alpn-01"\nnames = ["*.a.example"]',
            "acme.names: *.a.example can't be proved by tls-alpn-01, but by dns-01",
        ),
        ('challenge = "tls-alpn-01"\nnames = ["a b"]', "acme.names: 'a b' is no host name or address"),
        ('challenge = "tls-alpn-01"\nnames = []', "acme.names: is missing, and identity.names too"),
        (
            'challenge = "tls-alpn-01"\nkey_type = "rsa2048"\nbeside = "rsa4096"',
            "acme.beside: an RSA key stands beside an EC one",
        ),
        ('challenge = "tls-alpn-01"\nbeside = "ec"', "acme.beside: "),
        ('challenge = "tls-alpn-01"\neab_kid = "x"', "acme.eab_kid: stands without eab_key_file"),
        ('challenge = "tls-alpn-01"\nfallback_ca_file = "x"', "fallback_ca_file: stands without"),
        ('challenge = "tls-alpn-01"\nfallback_eab_key_file = "x"', "acme.fallback_eab_kid: stands without"),
        (
            'challenge = "tls-alpn-01"\nfallback_eab_kid = "x"\nfallback_eab_key_file = "x"',
            "acme.fallback_eab_kid: stands without fallback_directory",
        ),
        (
            'challenge = "tls-alpn-01"\nfallback_directory = "https://ca.test/dir"',
            "acme.names: the fallback is the same authority",
        ),
    ],
)
def test_what_can_not_be_had_is_told(change: str, why: str) -> None:
    table = {"directory": 'directory = "https://ca.test/dir"', "names": 'names = ["a.example"]'}
    table |= {line.partition(" ")[0]: line for line in change.splitlines()}
    assert why in mistake_of(more="[acme]\n" + "\n".join(table.values()))


def test_who_names_no_authority_is_asked_which() -> None:
    assert "acme.directory: is missing" in mistake_of(more='[acme]\nprofile = "short"')
