"""Clients that try to get in with certificates that no authority of the set has given them, or for this."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certstore import Cause, Generation, Trusted, TrustSet
from tests.pki import Issued, Key, Pki, crl
from tests.tlsproxy.test_client_certificates import refused
from tests.tlsproxy.tls_pair import Client, client_context
from tests.tlsproxy.tls_pair import shake_hands as connect
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.asking import Asking
from tlsproxy.tls.clientidentity import Acceptance, identify
from tlsproxy.tls.contexts import Contexts
from tlsproxy.tls.engines import Context, EngineName, make_context

NOW = datetime.now(UTC).replace(microsecond=0)
VERSIONS = ["TLSv1_2", "TLSv1_3"]
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
Made = tuple[Issued, str]
Parent = tuple[x509.Name, Key]
Extensions = Sequence[tuple[x509.ExtensionType, bool]]


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certificate(subject: str, key: Key, by: Parent, extensions: Extensions = ()) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(by[0])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=30))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(by[1], hashes.SHA256())


def ca(path_length: int | None = None) -> tuple[x509.ExtensionType, bool]:
    return x509.BasicConstraints(ca=True, path_length=path_length), True


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def below(pki: Pki, *between: Extensions, leaf: Extensions = ()) -> Issued:
    """Make a client whose chain goes up to the root by authorities with these extensions, the upper first."""
    by: Parent = (pki.root.subject, pki.root_key)
    chain: list[x509.Certificate] = []
    for index, extensions in enumerate(between):
        key = ec_key()
        chain.insert(0, certificate(f"Between {index}", key, by, extensions))
        by = chain[0].subject, key
    key = ec_key()
    return Issued(key, certificate("pump", key, by, leaf), tuple(chain))


def _same_name(pki: Pki) -> Issued:
    """Of an authority that calls itself as the anchor does."""
    key, own = ec_key(), ec_key()
    by: Parent = (pki.root.subject, own)
    return Issued(key, certificate("pump", key, by), (certificate("Test Root", own, by, [ca()]),))


def _weak_key(pki: Pki) -> Issued:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return Issued(key, certificate("pump", key, (pki.root.subject, pki.root_key)), ())


def _loop(_pki: Pki) -> Issued:
    key, one, two = ec_key(), ec_key(), ec_key()
    first = certificate("One", one, (named("Two"), two), [ca()])
    second = certificate("Two", two, (named("One"), one), [ca()])
    return Issued(key, certificate("pump", key, (named("One"), one)), (first, second))


CONSTRAINED = x509.NameConstraints([x509.DNSName("plant.test")], None), True
FOR_SERVERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
ELSEWHERE = x509.SubjectAlternativeName([x509.DNSName("else.test")]), False
REFUSED = "client_certificate_refused"
ATTACKS: dict[str, tuple[Callable[[Pki], Issued], str]] = {
    "another authority of the same name": (_same_name, REFUSED),
    "a small key": (_weak_key, REFUSED),
    "authorities in a circle": (_loop, "client_certificate_unknown_authority"),
    "between: no authority": (lambda pki: below(pki, [(x509.BasicConstraints(False, None), True)]), REFUSED),
    "between: no constraints": (lambda pki: below(pki, []), REFUSED),
    "between: for servers": (lambda pki: below(pki, [ca(), FOR_SERVERS]), "client_certificate_wrong_purpose"),
    "a path that is too long": (lambda pki: below(pki, [ca(0)], [ca()]), REFUSED),
    "a name that its authority must not give": (
        lambda pki: below(pki, [ca(), CONSTRAINED], leaf=[ELSEWHERE]),
        REFUSED,
    ),
    "an unknown critical extension": (lambda pki: below(pki, leaf=[(UNKNOWN, True)]), REFUSED),
    "150 authorities": (lambda pki: below(pki, *[[ca()]] * 150), REFUSED),
}


def showing(folder: Path, issued: Issued, version: str) -> ssl.SSLContext:
    """Have an attacker who takes no care of what is weak."""
    context = client_context(version=version, ciphers="DEFAULT:@SECLEVEL=0")
    path = folder / "client.pem"
    path.write_bytes(issued.chain_pem + issued.key_pem)
    context.load_cert_chain(path)
    return context


def asking(pki: Pki, engine: EngineName, held: TrustSet) -> Context:
    return make_context(
        pki.leaf().bundle(), TLSPolicy(tickets=False), engine, Asking(ClientAuth("required"), held)
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_by_a_certificate_is_refused_as_one_and_by_an_alert(tmp_path, pki, engine, version, attack):
    make, why = ATTACKS[attack]
    context = asking(pki, engine, TrustSet.of([pki.root]))
    found, told = refused(context, Client(showing(tmp_path, make(pki), version)))
    assert found == why
    assert "alert" in told


@pytest.mark.parametrize("version", VERSIONS)
def test_a_revoked_authority_lets_nobody_in_though_it_is_in_the_set(tmp_path, pki, engine, version):
    revoking = crl(pki.root, pki.root_key, (pki.intermediate.serial_number,))
    own = crl(pki.intermediate, pki.intermediate_key)
    held = TrustSet.from_pem(pki.root_pem + pki.intermediate_pem, revoking + own)
    bundle, rule = pki.leaf().bundle(), ClientAuth("required", trust="plant")
    contexts = Contexts(TLSPolicy(), engine, rules=[rule], trust_of=lambda _: held)
    served = Generation(1, (), bundle.id, (), Cause.TRUST, None, NOW, (Trusted("plant", "a" * 64),))
    table = contexts.prepare(served, lambda _: bundle)
    assert table.asks is not None
    context = table.asks.entry(bundle.id, rule)
    below_it = pki.leaf(("pump-7.test",), issuer="intermediate", eku=False)
    why, told = refused(context, Client(showing(tmp_path, below_it, version)))
    assert (why, "unknown_ca" in told) == ("client_certificate_without_list", True)
    der = [one.public_bytes(Encoding.DER) for one in (below_it.certificate, pki.intermediate)]
    assert not Acceptance(held).lets_in(identify(der))
    beside = pki.leaf(("pump-8.test",), issuer="root", eku=False)
    connect(Client(showing(tmp_path, beside, version)), context.accept())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_does_not_outlive_the_proof_that_it_came_from(tmp_path, pki, engine, version):
    """Its certificate may have ended since, or its revocation list: no client resumes where it was asked."""
    context = asking(pki, engine, TrustSet.of([pki.root]))
    shown = showing(tmp_path, pki.leaf(("pump-7.test",), issuer="root", eku=False), version)
    first, server = Client(shown), context.accept()
    connect(first, server)
    server.write(b"?")
    first.feed(server.take())
    first.tls.read(1)
    again = context.accept()
    connect(Client(shown, session=first.tls.session), again)
    assert not again.facts().resumed
    assert len(again.client_chain()) == 2
