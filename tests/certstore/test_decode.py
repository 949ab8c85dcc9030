"""Whatever file a customer has is read, or refused by a code of its own; nothing else ever comes out."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from certstore import decode as decoding
from certstore.assembly import assemble
from certstore.bundle import Bundle
from certstore.checks import check
from certstore.circumstances import Circumstances
from certstore.decode import Candidate, decode
from certstore.errors import Refusal
from certstore.loading import load_certificate
from tests.pki import Issued, Pki, to_pem


def no_key(_spki):
    return None


def codes(findings):
    return [finding.code for finding in findings]


def put_together(*contents, known_key=no_key):
    return assemble(Candidate(tuple((f"file{i}", c) for i, c in enumerate(contents))), known_key)


def refusal_codes(*contents, known_key=no_key):
    with pytest.raises(Refusal) as refusal:
        put_together(*contents, known_key=known_key)
    return codes(f for f in refusal.value.findings if f.is_error)


def key_in(
    issued: Issued, form: PrivateFormat, encoding: Encoding = Encoding.PEM, secret: bytes = b""
) -> bytes:
    return issued.key.private_bytes(
        encoding, form, BestAvailableEncryption(secret) if secret else NoEncryption()
    )


# --- what is read ---


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_keys_are_read_as_pkcs8_pkcs1_and_sec1(pki: Pki, kind, form, encoding):
    issued = pki.leaf(key=kind)
    bundle, findings = put_together(issued.chain_pem, key_in(issued, form, encoding))
    assert bundle == issued.bundle()
    assert findings == ()


def test_the_files_may_come_in_any_order_and_in_one(pki: Pki):
    issued = pki.leaf()
    parts = [issued.key_pem, issued.cert_pem, pki.intermediate_pem, pki.root_pem]
    expected = issued.bundle()
    for contents in (parts, parts[::-1], [b"".join(parts)], [b"".join(parts[::-1])]):
        assert put_together(*contents) == (expected, ())


def test_certificates_in_der_are_read_one_a_file_or_one_after_the_other(pki: Pki):
    issued = pki.leaf()
    ders = [c.public_bytes(Encoding.DER) for c in (issued.certificate, pki.intermediate)]
    assert put_together(*ders, issued.key_pem)[0] == issued.bundle()
    assert put_together(b"".join(ders) + b"\r\n", issued.key_pem)[0] == issued.bundle()


@pytest.mark.parametrize(
    "mangle",
    [
        lambda pem: pem.replace(b"\n", b"\r\n"),
        lambda pem: pem.replace(b"\n", b"\r"),
        lambda pem: b"\xef\xbb\xbf" + pem,
        lambda pem: b"\xff\xfe" + pem.decode().encode("utf-16-le"),
        lambda pem: b"\xfe\xff" + pem.decode().encode("utf-16-be"),
        lambda pem: pem.replace(b"\n-----BEGIN", b"-----BEGIN"),  # cat, where the last newline is missing
        lambda pem: b"\n".join(b"    " + line for line in pem.split(b"\n")),  # out of a YAML file
        lambda pem: b"Bag Attributes\n friendlyName: caf\xc3\xa9\n" + pem + b"\nthe end\n",
        lambda pem: pem.replace(b"-----BEGIN CERT", b"0 s:CN = x\n-----BEGIN CERT"),
        lambda pem: pem + b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
    ],
    ids=["crlf", "cr", "bom", "utf16le", "utf16be", "joined", "indented", "bag", "text", "parameters"],
)
def test_what_editors_and_shells_do_to_pem_does_no_harm(pki: Pki, mangle):
    issued = pki.leaf()
    assert put_together(mangle(issued.chain_pem + issued.key_pem)) == (issued.bundle(), ())


def test_a_certificate_alone_is_completed_by_a_key_that_is_already_here(pki: Pki):
    issued = pki.leaf()
    keys = {issued.bundle().spki: issued.key}
    assert put_together(issued.chain_pem, known_key=keys.get)[0] == issued.bundle()


def test_a_key_that_came_along_goes_before_a_known_one_for_another_certificate(pki: Pki):
    old, new = pki.leaf(), pki.leaf()
    keys = {old.bundle().spki: old.key}
    bundle, findings = put_together(old.cert_pem, new.chain_pem, new.key_pem, known_key=keys.get)
    assert bundle == new.bundle()
    assert codes(findings) == ["leaf_unused"]


def test_repeated_files_count_once(pki: Pki):
    issued = pki.leaf()
    again = [issued.chain_pem, issued.cert_pem, issued.key_pem, issued.key_pem, pki.intermediate_pem]
    assert put_together(*again) == (issued.bundle(), ())


def test_other_keys_are_noted_and_not_used(pki: Pki):
    issued = pki.leaf()
    bundle, findings = put_together(issued.chain_pem, pki.leaf().key_pem, issued.key_pem, pki.leaf().key_pem)
    assert bundle == issued.bundle()
    assert codes(findings) == ["key_unused"]
    assert findings[0].words.endswith(": 2")


def test_a_wrong_key_beside_a_certificate_whose_own_is_here_is_warned_about(pki: Pki):
    issued = pki.leaf()
    keys = {issued.bundle().spki: issued.key}
    bundle, findings = put_together(issued.chain_pem, pki.leaf().key_pem, known_key=keys.get)
    assert bundle == issued.bundle()
    assert codes(findings) == ["key_kept"]


def test_nothing_shows_what_a_key_file_holds(pki: Pki):
    issued = pki.leaf()
    candidate = Candidate((("a.pem", issued.key_pem),))
    secret = issued.key_pem.decode().split("\n")[1]
    decoded = decode(candidate.files)
    for shown in (repr(candidate), repr(decoded), repr(issued.bundle())):
        assert secret not in shown
        assert "PrivateKey" not in shown


# --- the chain ---


def test_a_missing_intermediate_is_warned_about_but_not_when_the_root_signed_the_leaf(pki: Pki):
    issued = pki.leaf()
    bundle, findings = put_together(issued.cert_pem, issued.key_pem)
    assert bundle.chain == ()
    assert codes(findings) == ["incomplete_chain"]
    assert "Test Intermediate" in findings[0].words
    direct = pki.leaf(issuer="root")
    assert put_together(direct.cert_pem, direct.key_pem, pki.root_pem) == (direct.bundle(), ())


def test_strangers_and_roots_are_left_out_of_the_chain(pki: Pki):
    issued, stranger = pki.leaf(), Pki()
    bundle, findings = put_together(
        stranger.root_pem, pki.root_pem, stranger.intermediate_pem, issued.chain_pem, issued.key_pem
    )
    assert bundle == issued.bundle()
    assert codes(findings) == ["stranger_dropped", "stranger_dropped"]


def test_a_cross_signed_certificate_is_sent_where_the_same_authority_also_has_a_root(pki: Pki, now):
    old = Pki()
    crossed = pki.authority("Test Root", pki.root_key, old.root, old.root_key, now=now)
    issued = pki.leaf()
    bundle, _ = put_together(issued.chain_pem, pki.root_pem, to_pem(crossed), old.root_pem, issued.key_pem)
    assert bundle.chain == (pki.intermediate, crossed)


def test_of_two_certificates_of_the_issuer_the_one_that_ends_last_is_sent(pki: Pki, now):
    ended = pki.authority(
        "Test Intermediate",
        pki.intermediate_key,
        pki.root,
        pki.root_key,
        now=now,
        end=now - timedelta(days=1),
    )
    issued = pki.leaf()
    bundle, _ = put_together(to_pem(ended), issued.cert_pem, pki.intermediate_pem, issued.key_pem)
    assert bundle.chain == (pki.intermediate,)


def test_authorities_that_sign_each_other_in_a_circle_end_the_chain(pki: Pki, now):
    one, two = ec.generate_private_key(ec.SECP256R1()), pki.intermediate_key
    other = Pki()
    name_one = pki.authority("One", one, None, one, now=now)
    a = pki.authority("Test Intermediate", two, name_one, one, now=now)
    b = pki.authority("One", one, a, two, now=now)
    issued = pki.leaf()
    bundle, _ = put_together(issued.cert_pem, to_pem(a, b), other.intermediate_pem, issued.key_pem)
    assert bundle.chain == (a, b)


# --- what is refused, each with its own code ---


def broken_cases(pki: Pki) -> dict[str, tuple[list[bytes], list[str]]]:
    issued, other = pki.leaf(), pki.leaf()
    pem, key = issued.chain_pem, issued.key_pem
    der = issued.certificate.public_bytes(Encoding.DER)
    damaged = pem.replace(pem.split(b"\n")[3], b"!" * 64)
    swapped = pem.replace(pem.split(b"\n")[3], b"A" * 64)
    return {
        "no file": ([], ["candidate_empty"]),
        "empty": ([b"", key], ["file_empty"]),
        "blank": ([b" \r\n\n", key], ["file_empty"]),
        "huge": ([pem + b"#" * decoding.LARGEST_FILE, key], ["file_too_large"]),
        "truncated certificate": ([pem[:500], key], ["file_truncated"]),
        "truncated key": ([pem, key[:100]], ["file_truncated"]),
        "cut in its last line": ([pem[:-8], key], ["file_truncated"]),
        "the beginning is missing": ([pem[100:], key], ["file_truncated"]),
        "truncated der": ([der[:-1], key], ["file_truncated"]),
        "garbage": ([bytes(range(256)), key], ["unparsable"]),
        "text": ([b"hello\n", key], ["unparsable"]),
        "damaged base64": ([damaged, key], ["certificate_unparsable"]),
        "damaged der": ([swapped, key], ["certificate_unparsable"]),
        "damaged key": ([pem, key.replace(key.split(b"\n")[1], b"A" * 64)], ["key_unparsable"]),
        "only a key": ([key], ["key_without_certificate"]),
        "only a certificate": ([pem], ["certificate_without_key"]),
        "only a chain": ([pki.intermediate_pem + pki.root_pem], ["chain_only"]),
        "a chain with a key": ([pki.intermediate_pem, key], ["chain_only"]),
        "another key": ([pem, other.key_pem], ["key_mismatch"]),
        "two leaves": ([pem, other.cert_pem, key, other.key_pem], ["several_leaves"]),
        "encrypted key": ([pem, key_in(issued, PrivateFormat.PKCS8, secret=b"x")], ["passphrase_needed"]),
        "old encrypted key": (
            [pem, key_in(issued, PrivateFormat.TraditionalOpenSSL, secret=b"x")],
            ["passphrase_needed"],
        ),
        "encrypted der key": (
            [pem, key_in(issued, PrivateFormat.PKCS8, Encoding.DER, b"x")],
            ["passphrase_needed"],
        ),
        "java keystore": ([b"\xfe\xed\xfe\xed\x00\x00\x00\x02", key], ["container_unsupported"]),
        "public key only": (
            [issued.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)],
            ["nothing_usable"],
        ),
    }


CASES = tuple(broken_cases(Pki()))


@pytest.mark.parametrize("case", CASES)
def test_what_is_broken_is_refused_by_its_own_code(pki: Pki, case):
    contents, expected = broken_cases(pki)[case]
    assert refusal_codes(*contents) == expected


def test_a_request_is_not_a_certificate_and_the_finding_says_so(pki: Pki):
    key = pki.make_key("ec")
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    for encoding in (Encoding.PEM, Encoding.DER):
        with pytest.raises(Refusal) as refusal:
            put_together(request.public_bytes(encoding))
        assert codes(refusal.value.findings) == ["request_ignored", "nothing_usable"]
    issued = pki.leaf(key=key)
    bundle, findings = put_together(request.public_bytes(Encoding.PEM), issued.key_pem, issued.chain_pem)
    assert bundle == issued.bundle()
    assert codes(findings) == ["request_ignored"]


def test_a_mismatch_names_both_keys_by_their_kinds_and_hashes(pki: Pki):
    issued = pki.leaf(names=("printer.example",))
    with pytest.raises(Refusal) as refusal:
        put_together(issued.chain_pem, pki.leaf(key="rsa").key_pem)
    words = refusal.value.findings[0].words
    assert "printer.example" in words
    assert "EC secp256r1" in words
    assert "RSA 2048" in words
    assert issued.bundle().spki[:12] in words


def test_a_ca_certificate_with_its_key_is_assembled_so_that_the_checks_can_tell_what_is_wrong(pki: Pki):
    issued = pki.leaf(ca=True, issuer=None)
    bundle, _ = put_together(issued.cert_pem, issued.key_pem)
    assert bundle.leaf == issued.certificate


def test_a_certificate_with_a_negative_serial_number_is_refused(pki: Pki):
    issued = pki.leaf()
    serial = issued.certificate.serial_number
    content = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # as DER has it, with room for the sign
    negative = bytes([content[0] | 0x80]) + content[1:]
    der = issued.certificate.public_bytes(Encoding.DER).replace(content, negative, 1)
    assert refusal_codes(der, issued.key_pem) == ["certificate_unparsable"]


def test_a_certificate_whose_country_has_a_whole_name_says_nothing_on_stderr(pki: Pki):
    """Old authorities write C=Germany, of which `cryptography` warns; and warnings are errors here."""
    common_name, country = bytes.fromhex("0603550403"), bytes.fromhex("0603550406")
    der = pki.leaf().certificate.public_bytes(Encoding.DER).replace(common_name, country)
    decoded = decode([("cert.der", der)])
    assert decoded.findings == ()
    assert "device.test" in decoded.certificates[0].subject.rfc4514_string()


def test_a_key_that_cant_sign_is_refused_as_such(pki: Pki):
    pem = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert refusal_codes(pki.leaf().chain_pem, pem) == ["key_type_unsupported"]


def test_a_curve_that_nobody_knows_is_named_as_what_is_wrong_in_certificate_and_key(pki: Pki):
    p256, unknown = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f")
    issued = pki.leaf()
    strange_key = key_in(issued, PrivateFormat.PKCS8, Encoding.DER).replace(p256, unknown)
    strange = issued.certificate.public_bytes(Encoding.DER).replace(p256, unknown)
    assert refusal_codes(issued.chain_pem, strange_key) == ["key_type_unsupported"]
    assert refusal_codes(strange, issued.key_pem) == ["key_type_unsupported"]
    with pytest.raises(Refusal, match="can't be used for TLS"):
        Bundle.make(issued.key, load_certificate(strange), ())


def test_a_key_larger_than_any_is_refused_unread(pki: Pki):
    huge = b"\x30\x82\x7f\xff\x02\x01\x00" + bytes(0x7FFC)
    with pytest.raises(Refusal, match="larger than any key"):
        put_together(pki.leaf().chain_pem, huge)


def test_an_rsa_key_with_a_flipped_bit_is_refused_before_it_can_sign(pki: Pki):
    issued = pki.leaf(key="rsa")
    der = bytearray(key_in(issued, PrivateFormat.TraditionalOpenSSL, Encoding.DER))
    der[-10] ^= 1  # inside qInv
    assert refusal_codes(issued.chain_pem, bytes(der)) == ["key_unparsable"]


def test_more_certificates_and_keys_than_any_candidate_has_are_refused(pki: Pki, monkeypatch):
    monkeypatch.setattr(decoding, "MOST_CERTIFICATES", 2)
    monkeypatch.setattr(decoding, "MOST_KEYS", 1)
    issued = pki.leaf()
    assert refusal_codes(issued.chain_pem, pki.root_pem, issued.key_pem) == ["too_many_certificates"]
    assert refusal_codes(issued.chain_pem, issued.key_pem, pki.leaf().key_pem) == ["too_many_keys"]


def test_damaged_keys_cost_no_more_than_good_ones(pki: Pki, monkeypatch):
    monkeypatch.setattr(decoding, "MOST_KEYS", 2)
    tried: list[bytes] = []

    def refuse(der: bytes):
        tried.append(der)
        raise ValueError("damaged")

    monkeypatch.setattr(decoding, "load_key", refuse)
    damaged = [pki.leaf().key_pem for _ in range(4)]
    assert refusal_codes(b"".join([*damaged, *damaged])) == ["key_unparsable", "too_many_keys"]
    assert len(tried) == 2


def test_a_der_file_of_nothing_but_tiny_elements_is_not_tried_one_by_one():
    assert refusal_codes(b"0\x00" * 500_000) == ["unparsable"]


def test_a_damaged_file_among_good_ones_refuses_them_all(pki: Pki):
    issued = pki.leaf()
    assert refusal_codes(issued.chain_pem, issued.key_pem, b"what is this") == ["unparsable"]


# --- nothing else ever comes out ---


@pytest.fixture(scope="module")
def seeds(pki: Pki) -> list[bytes]:
    issued = pki.leaf(names=("a.test", "192.0.2.1"))
    rsa_issued = pki.leaf(key="rsa")
    return [
        issued.chain_pem + issued.key_pem,
        issued.certificate.public_bytes(Encoding.DER),
        key_in(issued, PrivateFormat.PKCS8, Encoding.DER),
        key_in(issued, PrivateFormat.TraditionalOpenSSL, Encoding.DER),
        key_in(issued, PrivateFormat.PKCS8, Encoding.DER, b"secret"),
        rsa_issued.certificate.public_bytes(Encoding.DER),
    ]


@given(data=st.data())
def test_no_bytes_bring_out_anything_but_a_refusal(seeds, data):
    seed = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(0, 6))):
        seed[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(seed)), st.integers(0, len(seed))))
    contents = [bytes(seed[:cut]), data.draw(st.sampled_from([*seeds, b""]))]
    try:
        bundle, findings = put_together(*contents)
    except Refusal:  # which proves for itself that it holds an error
        return
    assert not any(f.is_error for f in findings)
    check(bundle, Circumstances(bundle.not_before, clock_plausible=True))


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_random_bytes_are_refused_quietly(contents):
    assert refusal_codes(*contents)


def test_every_beginning_of_a_good_file_is_refused(pki: Pki):
    issued = pki.leaf()
    whole = issued.cert_pem + issued.key_pem.rstrip()
    for length in range(0, len(whole), 7):
        assert refusal_codes(whole[:length])


def test_openssl_agrees_about_what_was_put_together(pki: Pki, tmp_path):
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    issued = pki.leaf(key="rsa")
    bundle, _ = put_together(pki.intermediate_pem, issued.key_pem, issued.cert_pem)
    (tmp_path / "root.pem").write_bytes(pki.root_pem)
    (tmp_path / "chain.pem").write_bytes(bundle.chain_pem())
    command = [openssl, "verify", "-CAfile", "root.pem", "-untrusted", "chain.pem", "chain.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20)
    assert done.stdout == "chain.pem: OK\n", done.stderr
