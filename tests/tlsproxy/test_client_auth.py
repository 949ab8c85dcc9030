"""The tables [[client_auth]], and the gate that each connection has by them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from tlsproxy.config.clientauth import rule_words
from tlsproxy.config.reading import read
from tlsproxy.errors import ClientProtocolError
from tlsproxy.forward.clientgate import ClientGate
from tlsproxy.http.fields import Role, may_be_nominated, may_be_trailer, role_of
from tlsproxy.http.headers import ForwardedFacts
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.tls.clientidentity import ClientIdentity
from tlsproxy.tls.clientrules import Rules, Shown

GOOD = """
store = "s"
[[listener]]
address = "127.0.0.1:8443"
[[route]]
upstream = "http://127.0.0.1:3000"
{tables}
"""


def rules_of(tables: str) -> tuple[ClientAuth, ...]:
    found = read(GOOD.format(tables=tables), Path("/etc/x"))
    assert found.config is not None, found.mistakes
    return found.config.client_auth


def mistakes_of(tables: str) -> str:
    found = read(GOOD.format(tables=tables), Path("/etc/x"))
    assert found.config is None
    return "\n".join(f"{mistake}\n{mistake.hint}" for mistake in found.mistakes)


def test_nobody_is_asked_unless_the_file_says_so():
    assert rules_of("") == ()
    assert rules_of("[[client_auth]]") == (ClientAuth(),)


def test_a_rule_says_where_and_by_which_set():
    (rule,) = rules_of(
        '[[client_auth]]\nnames = ["API.test.", "*.line.test"]\nports = [8443]\nmode = "optional"\n'
        'trust = "plant"\nallow = ["cn:x"]\ndepth = 0\nforward = "chain"\nfacts = true'
    )
    assert rule == ClientAuth(
        "optional", ("api.test", "*.line.test"), (8443,), "plant", ("cn:x",), 0, "chain", True
    )
    assert rule_words([rule], "plant") == "api.test, *.line.test (port 8443)"
    assert rule_words([rule], "other") == ""


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ('[[client_auth]]\nmode = "maybe"', "is none of off, optional, required"),
        ('[[client_auth]]\nnames = ["a b"]', "is no host name or address"),
        ("[[client_auth]]\nnames = []", "an empty list is for nobody"),
        ("[[client_auth]]\nallow = []", "an empty list is for nobody"),
        ('[[client_auth]]\nallow = ["pump-7"]', "doesn't begin like a pattern"),
        ('[[client_auth]]\nallow = ["spiffe://Plant/x"]', "is no SPIFFE id"),
        ('[[client_auth]]\nallow = ["spiffe://plant"]', "those have a path"),
        ('[[client_auth]]\nallow = ["uri:SPIFFE://plant/x"]', "leave out uri:"),
        ('[[client_auth]]\nallow = ["spki:1234"]', "is no SHA-256 in hex"),
        ('[[client_auth]]\nallow = ["subject:pump"]', "is no distinguished name"),
        ('[[client_auth]]\ntrust = "../x"', "is no name of a trust set"),
        ("[[client_auth]]\nports = [443]", "nothing listens for TLS on port 443"),
        ("[[client_auth]]\n[[client_auth]]", "every other name has a rule already"),
        ('[[client_auth]]\nmode = "off"\ntrust = "x"', "nobody is asked for a certificate by this rule"),
        ('[[client_auth]]\nname = "x"', "unknown key"),
    ],
)
def test_what_is_wrong_is_said(tables, says):
    assert says in mistakes_of(tables)


# --- the gate

STRICT, OTHER = ClientAuth("required", ("api.test", "192.0.2.7")), ClientAuth("optional", ("maybe.test",))
STRICT_EVERYWHERE = ClientAuth("required")
RULES = Rules([STRICT, OTHER, ClientAuth("off", ("open.test",))])


def status_of(gate: ClientGate, host: bytes) -> int:
    try:
        gate.check(host)
    except ClientProtocolError as error:
        return error.status
    return 200


@pytest.mark.parametrize("host", [b"api.test", b"API.TEST.:443", b"192.0.2.7:8443", b"maybe.test"])
def test_a_connection_that_was_not_asked_is_misdirected(host):
    assert status_of(ClientGate(RULES, None, 443), host) == 421


def test_a_host_without_a_rule_or_of_the_same_is_answered():
    gate = ClientGate(RULES, STRICT, 443)
    asked = [status_of(gate, host) for host in (b"api.test", b"open.test", b"api.test:443", b"localhost")]
    assert asked == [200] * 4
    assert status_of(gate, b"maybe.test") == 421
    assert status_of(gate, b"api.test") == 200, "it can be used again after that"


@pytest.mark.parametrize("host", [b"api.test..", b"-api.test", b"192.0.2.007", b"3221225991", b"!!"])
def test_a_host_that_is_no_name_is_for_nobody_where_names_have_rules(host):
    """The service behind may read it as one of them."""
    assert [status_of(ClientGate(RULES, rule, 443), host) for rule in (None, STRICT)] == [421, 421]
    assert status_of(ClientGate(Rules([STRICT_EVERYWHERE]), STRICT_EVERYWHERE, 443), host) == 200


def test_who_is_not_let_in_is_forbidden_and_nothing_is_told_of_him():
    shown = Shown(x509.Name.from_rfc4514_string("CN=x"), ("x.test",), (), (), "a" * 64, "b" * 64)
    client = ClientIdentity(shown, shown.subject, 255, "c" * 64, (b"leaf", b"ca"))
    gate = ClientGate(RULES, ClientAuth(facts=True), 443, client, "client_certificate_not_allowed")
    assert (status_of(gate, b"open.test"), gate.fields) == (403, b"")
    told = ClientGate(RULES, ClientAuth(forward="chain", facts=True), 443, client).fields
    assert told.startswith(b"Client-Cert: :bGVhZg==:\r\nClient-Cert-Chain: :Y2E=:\r\n")
    assert b"X-Client-Cert-Serial: ff\r\n" in told
    facts = ForwardedFacts(b"192.0.2.1", b"https", b"x", client=told)
    assert facts.lines_for(b"api.test").endswith(told)


@pytest.mark.parametrize("name", [b"Client-Cert", b"client-cert-chain", b"X-Client-Cert-Subject"])
def test_a_client_can_not_say_itself_who_it_is(name):
    assert role_of(name) is Role.OURS
    assert role_of(name.replace(b"-", b"_")) is Role.LOOKALIKE
    assert not may_be_nominated(name.lower())
    assert not may_be_trailer(name)
