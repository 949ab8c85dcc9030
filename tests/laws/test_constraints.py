"""Name constraints are read here as cryptography's verifier enforces them; lists are searched as sets are."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from hypothesis import given, settings
from hypothesis import strategies as st

from certstore.blocklist import RECORD, open_blocklist
from certstore.constraints import forbidden_names
from tests.pki import Pki

LABELS = st.sampled_from(["a", "b", "ab", "B", "b-a"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
ADDRESSES = st.integers(0, 255).map(lambda last: f"192.0.2.{last}")
NETWORKS = st.tuples(ADDRESSES, st.integers(24, 32)).map(
    lambda pair: str(ip_network(f"{pair[0]}/{pair[1]}", strict=False))
)
SUBTREES = st.lists(HOSTS | NETWORKS, max_size=3)


@cache
def pki() -> Pki:
    return Pki()


def general(text: str) -> x509.GeneralName:
    return x509.IPAddress(ip_network(text)) if "/" in text else x509.DNSName(text)


def constrained(permitted: list[str], excluded: list[str]) -> x509.Certificate:
    """Make another certificate for the test intermediate, with these constraints."""
    plain = pki().intermediate
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.subject)
        .issuer_name(plain.issuer)
        .public_key(plain.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(plain.not_valid_before_utc)
        .not_valid_after(plain.not_valid_after_utc)
    )
    for extension in plain.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    constraints = x509.NameConstraints(
        [general(text) for text in permitted] or None, [general(text) for text in excluded] or None
    )
    return builder.add_extension(constraints, critical=True).sign(pki().root_key, hashes.SHA256())


def is_verified(leaf: x509.Certificate, name: str, authority: x509.Certificate) -> bool:
    subject = x509.DNSName(name) if name[0].isalpha() else x509.IPAddress(ip_address(name))
    store = verification.Store([pki().root])
    policy = verification.PolicyBuilder().store(store).time(datetime.now(UTC))
    try:
        policy.build_server_verifier(subject).verify(leaf, [authority])
    except verification.VerificationError:
        return False
    return True


@cache
def leaf_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@given(name=HOSTS | ADDRESSES, permitted=SUBTREES, excluded=SUBTREES)
@settings(max_examples=150, deadline=timedelta(seconds=5))
def test_what_we_call_forbidden_the_verifier_refuses_and_nothing_else(name, permitted, excluded):
    if not permitted and not excluded:
        permitted = ["a"]
    authority = constrained(permitted, excluded)
    leaf = pki().leaf((name,), key=leaf_key()).certificate
    assert is_verified(leaf, name, pki().intermediate)
    assert is_verified(leaf, name, authority) == (not forbidden_names(leaf, authority))


@given(st.sets(st.binary(min_size=15, max_size=15), min_size=1, max_size=50), st.binary(max_size=8))
@settings(deadline=None)
def test_a_list_knows_exactly_what_is_in_it(tmp_path_factory, prefixes, other):
    path = tmp_path_factory.mktemp("list") / "list.dat"
    path.write_bytes(b"".join(prefix + b"\x07" for prefix in sorted(prefixes)))
    assert path.stat().st_size % RECORD == 0
    ask = open_blocklist(path)
    assert all(ask(prefix + bytes(17)) == "list.dat, collection 7" for prefix in prefixes)
    absent = hashlib.sha256(other).digest()
    assert (ask(absent) is not None) == (absent[:15] in prefixes)
