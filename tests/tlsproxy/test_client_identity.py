"""What is read of a verified certificate: SPIFFE ids, what the upstream is told, and what can't be read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki import Pki
from tlsproxy.forward.clientgate import ClientGates
from tlsproxy.policy_clients import ClientAuth
from tlsproxy.tls.clientidentity import ClientIdentity, identify

SVID = "spiffe://plant.example/line/3"
OFF = ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
OFF += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
SAN = x509.ObjectIdentifier("2.5.29.17")


def der(pki: Pki, *names: x509.GeneralName, ca: bool = False, **usage: bool) -> bytes:
    usage = {"digital_signature": True} | dict.fromkeys(OFF, False) | usage

    def tweak(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.add_extension(x509.KeyUsage(**usage), critical=True)

    made = pki.leaf((), issuer="root", eku=False, ca=ca, tweak=tweak)
    return made.certificate.public_bytes(Encoding.DER)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def known(pki: Pki, *names: x509.GeneralName) -> ClientIdentity:
    return identify([der(pki, *names), pki.root.public_bytes(Encoding.DER)])


def told(identity: ClientIdentity) -> dict[bytes, bytes]:
    lines = identity.fields(forward="none", facts=True).split(b"\r\n")[:-1]
    return dict(line.split(b": ", 1) for line in lines)


def test_a_client_that_may_sign_nothing_has_its_spiffe_id(pki):
    assert identify([der(pki, uri(SVID))]).shown.spiffe == SVID
    assert identify([der(pki, uri(SVID), x509.DNSName("pump.test"))]).shown.spiffe == SVID


@pytest.mark.parametrize("usage", [{"ca": True}, {"key_cert_sign": True}, {"crl_sign": True}])
def test_an_authority_has_no_spiffe_id_of_a_client(pki, usage):
    """X509-SVID section 5.2: a signing certificate must not pass for what it signs."""
    assert identify([der(pki, uri(SVID), **usage)]).shown.spiffe == ""


@pytest.mark.parametrize(
    "text",
    [
        "SPIFFE://plant.example/x",
        "spiffe://Plant.example/x",
        "spiffe://plant.example:443/x",
        "spiffe://u@plant.example/x",
        "spiffe://plant.example/%78",
        "spiffe://plant.example/x?y",
        "spiffe://plant.example/x#y",
        "spiffe://plant.example/x/",
        "spiffe://plant.example/a/../x",
        "spiffe://plant.example/",
        "spiffe://plant.example",
        "spiffe:///x",
        "spiffe://plant.example/x\n",
    ],
)
def test_what_is_written_otherwise_is_no_spiffe_id(pki, text):
    assert identify([der(pki, uri(text))]).shown.spiffe == ""


def test_two_uris_are_no_spiffe_id(pki):
    assert identify([der(pki, uri(SVID), uri("spiffe://plant.example/admin"))]).shown.spiffe == ""


def test_no_name_passes_for_several(pki):
    """The class of CVE-2021-44532: a name of a certificate that reads like two."""
    fields = told(
        known(pki, x509.DNSName("a.test, URI:spiffe://plant.example/admin"), x509.DNSName("b.test"))
    )
    assert fields[b"X-Client-Cert-Names"] == b"DNS:a.test%2C URI:spiffe://plant.example/admin, DNS:b.test"
    assert b"X-Client-Cert-Spiffe" not in fields
    fields = told(known(pki, x509.RFC822Name("a@b.test, DNS:admin"), x509.DNSName("%2C\r\nX: y\0")))
    assert fields[b"X-Client-Cert-Names"] == b"DNS:%252C%0D%0AX: y%00, email:a@b.test%2C DNS:admin"


UNREADABLE = {
    "an X.400 address": bytes((0x30, 2, 0xA3, 0)),
    "a name that is no ASCII": bytes((0x30, 4, 0x82, 2, 0xFF, 0xFE)),
    "an address of three bytes": bytes((0x30, 5, 0x87, 3, 1, 2, 3)),
    "nonsense": b"\x04\x01\x00",
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_verified_certificate_that_can_not_be_read_is_forbidden_and_breaks_nothing(pki, what):
    def tweak(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        return builder.add_extension(x509.UnrecognizedExtension(SAN, UNREADABLE[what]), critical=False)

    leaf = pki.leaf((), issuer="root", tweak=tweak).certificate.public_bytes(Encoding.DER)
    rule = ClientAuth("required")
    stream = SimpleNamespace(rule=rule, client_chain=(leaf,))
    gate = ClientGates([rule]).gate(stream, 443)  # type: ignore[arg-type]
    assert (gate.result, gate.fields) == ("client_certificate_unreadable", b"")


def test_a_certificate_of_another_version_can_not_be_read(pki):
    leaf = der(pki)
    with pytest.raises(ValueError, match="version"):
        identify([leaf.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1)])


def test_who_would_fill_the_headers_is_forbidden(pki):
    names = [x509.DNSName(f"{'x' * 60}-{index}.test") for index in range(500)]
    chain = (der(pki, *names), pki.root.public_bytes(Encoding.DER))
    for rule, result in [
        (ClientAuth(facts=True), "client_certificate_too_large"),
        (ClientAuth(forward="certificate"), "client_certificate_too_large"),
        (ClientAuth(), ""),
    ]:
        stream = SimpleNamespace(rule=rule, client_chain=chain)
        gate = ClientGates([rule]).gate(stream, 443)  # type: ignore[arg-type]
        assert gate.result == result
        assert len(gate.fields) == 0
