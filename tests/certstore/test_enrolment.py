"""What is wanted of an ACME authority, and how it goes: whole on the disk, and gone with a reset."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certstore import Store, layout, records
from certstore.atomic import Disk
from certstore.issuers import selfsigned
from certstore.issuers.acme.acmednsaccount import AcmeDnsAccount
from certstore.issuers.acme.challenges import Challenge
from certstore.issuers.acme.enrolment import Enrolment, Enrolments, Fallback, Renewal
from certstore.issuers.acme.nameserver import NameServer, TsigKey
from certstore.issuers.csr import KeyType
from certstore.issuers.selfsigned import Identity
from tests.storing import propose
from tlsproxy.resetting import wish

AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)

EVERYTHING = Renewal(
    "0" * 64,
    AT,
    AT,
    3,
    AT,
    "acme_unreachable",
    "words",
    "hint",
    recent=(AT,),
    authority="https://ca.test/dir",
    barred={"https://ca.test/dir": AT},
    is_asked=True,
)
LATER = {"recent", "authority", "barred", "is_asked"}


def wanted(**other) -> Enrolment:
    made = Enrolment(
        "https://ca.test/dir", ("B.test", "a.test"), Challenge.HTTP_01, KeyType.EC, None, None, "", AT
    )
    return replace(made, **other)


@pytest.fixture
def store(tmp_path, pki, clock):
    with Store.open(tmp_path / "s", clock=clock) as store:
        propose(store, pki.leaf())
        yield store


def test_both_are_there_after_a_restart(store):
    first = Enrolments(store.path, Disk())
    assert first.load() == ()
    assert (first.enrolment, store.is_enrolled) == (None, False)
    first.enrol(wanted(profile="shortlived", ca_pem="-----BEGIN"))
    assert store.is_enrolled
    first.note(EVERYTHING)
    again = Enrolments(store.path, Disk())
    assert again.load() == ()
    assert (again.enrolment, again.renewal) == (first.enrolment, first.renewal)
    assert again.enrolment is not None
    assert again.enrolment.names == ("a.test", "b.test")
    again.enrol(wanted(profile="shortlived", ca_pem="-----BEGIN", since=AT + timedelta(days=1)))
    assert again.enrolment == first.enrolment, "what is wanted already goes on"
    assert again.renewal == replace(first.renewal, next_at=None), "and is tried now"
    again.note(Renewal("0" * 64, AT, AT))
    again.enrol(wanted(profile="shortlived", ca_pem="-----BEGIN"))
    assert again.renewal == Renewal("0" * 64, AT, AT)
    again.enrol(wanted(names=("c.test",)))
    assert again.renewal == Renewal(is_asked=True)
    again.withdraw(is_declined=False)
    assert not store.is_enrolled
    assert Enrolments(store.path, Disk()).load() == ()


def test_an_rsa_key_beside_an_ec_one_is_kept_and_nothing_else_stands_beside(store):
    first = Enrolments(store.path, Disk())
    first.load()
    first.enrol(wanted(beside=KeyType.RSA3072))
    again = Enrolments(store.path, Disk())
    assert again.load() == ()
    assert again.enrolment == first.enrolment
    assert again.enrolment is not None
    assert again.enrolment.key_types == (KeyType.EC, KeyType.RSA3072)
    again.note(Renewal("0" * 64, AT, AT))
    again.enrol(wanted())
    assert again.renewal.is_asked, "one instead of two is something else"
    assert wanted().key_types == (KeyType.EC,)
    for kind, beside in ((KeyType.EC, KeyType.EC384), (KeyType.RSA2048, KeyType.RSA4096)):
        with pytest.raises(ValueError, match="an RSA key stands beside an EC one"):
            wanted(key_type=kind, beside=beside)


ACCOUNT = AcmeDnsAccount("https://acme-dns.test", "me", "secret", "sub", "sub.acme-dns.test")


def test_an_account_at_acme_dns_is_kept_and_proves_what_it_can(store):
    first = Enrolments(store.path, Disk())
    first.load()
    first.enrol(wanted(challenge=Challenge.DNS_01, acme_dns=ACCOUNT))
    again = Enrolments(store.path, Disk())
    assert again.load() == ()
    assert again.enrolment == first.enrolment
    assert again.enrolment is not None
    assert (again.enrolment.acme_dns, again.enrolment.is_by_hook) == (ACCOUNT, False)
    with pytest.raises(ValueError, match="for dns-01"):
        wanted(acme_dns=ACCOUNT)
    with pytest.raises(ValueError, match="2 records"):
        wanted(challenge=Challenge.DNS_01, acme_dns=ACCOUNT, names=("a.test", "b.test", "c.test"))
    server = NameServer("ns.test", TsigKey("key.", "hmac-sha256", bytes(16)))
    with pytest.raises(ValueError, match="not by both"):
        wanted(challenge=Challenge.DNS_01, acme_dns=ACCOUNT, name_server=server)


def test_a_proxy_is_kept_for_all_authorities_and_its_password_stands_in_no_repr(store):
    by = "http://me:s3cret@proxy.test:3128"
    first = Enrolments(store.path, Disk())
    first.load()
    first.enrol(wanted(proxy=by, fallback=Fallback("https://other.test/dir")))
    again = Enrolments(store.path, Disk())
    assert again.load() == ()
    assert again.enrolment is not None
    assert [server.proxy for server in again.enrolment.servers] == [by, by]
    assert "s3cret" not in repr(again.enrolment)
    assert "s3cret" not in repr(again.enrolment.servers)


@pytest.mark.parametrize(
    "url",
    ["proxy.test:3128", "socks5://proxy.test", "http://", "http://proxy.test/x", "http://a:b", "http://[::1"],
)
def test_what_is_no_proxy_is_refused_without_saying_it(url):
    with pytest.raises(ValueError, match="HOST:PORT") as refused:
        wanted(proxy=url)
    assert url == "http://" or url not in str(refused.value)


def test_that_a_person_wants_none_is_remembered_until_one_is_wanted(store):
    first = Enrolments(store.path, Disk())
    first.load()
    first.enrol(wanted())
    first.withdraw(is_declined=True)
    again = Enrolments(store.path, Disk())
    again.load()
    assert (again.enrolment, again.is_declined) == (None, True)
    again.enrol(wanted())
    assert not again.is_declined
    last = Enrolments(store.path, Disk())
    last.load()
    assert not last.is_declined
    last.withdraw(is_declined=False)
    last.load()
    assert not last.is_declined


def test_what_the_configuration_wanted_becomes_a_persons_without_another_certificate(store):
    first = Enrolments(store.path, Disk())
    first.load()
    first.enrol(wanted(is_configured=True))
    first.note(Renewal("0" * 64, AT, AT))
    first.enrol(wanted(since=AT + timedelta(days=1)))
    assert first.renewal == Renewal("0" * 64, AT, AT)
    again = Enrolments(store.path, Disk())
    again.load()
    assert again.enrolment == wanted()


@pytest.mark.parametrize("file", [layout.ENROLMENT, layout.RENEWAL])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"directory": 1}'])
def test_damage_is_told_and_never_raised_as_something_else(store, file, content):
    first = Enrolments(store.path, Disk())
    first.enrol(wanted())
    (store.path / file).write_bytes(content)
    again = Enrolments(store.path, Disk())
    (damaged,) = again.load()
    assert damaged.path == store.path / file
    assert again.renewal == (first.renewal if file == layout.ENROLMENT else Renewal())
    assert again.enrolment == (None if file == layout.ENROLMENT else first.enrolment)


def test_a_renewal_of_the_first_version_is_read(store):
    first = Enrolments(store.path, Disk())
    first.enrol(wanted())
    old = {name: value for name, value in EVERYTHING.to_json().items() if name not in LATER}
    (store.path / layout.RENEWAL).write_bytes(records.dump(old))
    assert first.load() == ()
    assert first.renewal == Renewal("0" * 64, AT, AT, 3, AT, "acme_unreachable", "words", "hint")


@pytest.mark.parametrize("names", [(), ("a b",), ("",), ("*",), ("a.test", "x" * 300)])
def test_names_that_cant_be_had_are_refused(names):
    with pytest.raises(ValueError):
        wanted(names=names)


@pytest.mark.parametrize(
    ("names", "challenge"),
    [
        (("*.a.test",), Challenge.HTTP_01),
        (("*.a.test",), Challenge.TLS_ALPN_01),
        (("192.0.2.1",), Challenge.DNS_PERSIST_01),
        (("192.0.2.1",), Challenge.DNS_01),
    ],
)
def test_what_a_challenge_cant_prove_is_refused(names, challenge):
    with pytest.raises(ValueError):
        wanted(names=names, challenge=challenge)
    assert wanted(names=("*.a.test",), challenge=Challenge.DNS_PERSIST_01).names == ("*.a.test",)


def test_a_reset_of_what_is_the_customers_takes_it_along(store):
    Enrolments(store.path, Disk()).enrol(wanted())

    def fresh():
        return selfsigned.issue(Identity(("own.test",), "", "own.test"), selfsigned.new_key(), AT)

    store.reset(wish(["customer", "identity"], store.path, store.path / "none", fresh), via="x")
    assert not store.is_enrolled
