"""Whatever became of a certificate on its way here: if it can be loaded, it is judged and described."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_network

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from certstore.catalogue import CATALOGUE
from certstore.chain import build_chain
from certstore.checks import check_shown
from certstore.circumstances import Anchor, Circumstances
from certstore.loading import load_certificate
from certstore.reference import Reference
from tests.laws.test_constraints import constrained
from tests.pki import Pki
from tlsproxy.doctor.anatomy import anatomy_of

NOW = datetime.now(UTC)


@cache
def victims() -> tuple[bytes, ...]:
    """Give certificates that have every extension that is looked at."""
    pki = Pki()

    def everything(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        policy = x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), None)
        for extension in (
            x509.CertificatePolicies([policy]),
            x509.TLSFeature([x509.TLSFeatureType.status_request]),
            x509.NameConstraints([x509.DNSName("a.test"), x509.IPAddress(ip_network("10.0.0.0/8"))], None),
        ):
            builder = builder.add_extension(extension, critical=False)
        return builder

    leaf = pki.leaf(("a.test", "*.b.test", "10.0.0.1", "fd00::1"), tweak=everything)
    made = (leaf.certificate, pki.leaf(key="rsa").certificate, pki.intermediate, pki.root)
    return tuple(one.public_bytes(Encoding.DER) for one in (*made, constrained(["a.test"], ["10.0.0.0/8"])))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    der = bytearray(draw(st.sampled_from(victims())))
    for _ in range(draw(st.integers(1, 4))):
        der[draw(st.integers(0, len(der) - 1))] = draw(st.integers(0, 255))
    return bytes(der)


@given(
    ders=st.lists(damaged() | st.sampled_from(victims()), min_size=1, max_size=4),
    anchor=st.sampled_from(Anchor),
)
@settings(max_examples=300, deadline=None)
def test_what_can_be_loaded_is_judged_and_drawn(ders, anchor):
    certificates = []
    for der in ders:
        try:
            certificates.append(load_certificate(der))
        except ValueError:
            continue
    if not certificates:
        return
    leaf, *others = certificates
    around = Circumstances(NOW, clock_plausible=True, reached_by=("a.test", "192.0.2.1"))
    around = replace(Reference(others).surround(leaf, others, around), anchor=anchor)
    for chain in (others, build_chain(leaf, others).certificates):
        findings = check_shown(leaf, chain, around)
        assert {finding.code for finding in findings} <= CATALOGUE.keys()
        assert all(line.isprintable() for line in anatomy_of(leaf, chain).lines())
