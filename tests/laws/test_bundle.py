"""Laws of bundles: however the files come, the same bundle comes out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certstore.assembly import assemble
from certstore.bundle import Bundle
from certstore.decode import Candidate
from tests.pki import Pki, to_pem

Order = tuple[Bundle, list[bytes]]


@pytest.fixture(scope="module")
def pieces(pki: Pki) -> Order:
    """Make a bundle with a chain of three, and all its pieces with a root and a stranger."""
    now = datetime.now(UTC)
    second = pki.make_key("ec")
    third = pki.make_key("ec")
    two = pki.authority("Two", second, pki.root, pki.root_key, now=now)
    three = pki.authority("Three", third, two, second, now=now)
    crossed = pki.authority("Test Intermediate", pki.intermediate_key, three, third, now=now)
    issued = pki.leaf()
    bundle = Bundle.make(issued.key, issued.certificate, (crossed, three, two))
    parts = [issued.key_pem, issued.cert_pem, *(to_pem(c) for c in bundle.chain), pki.root_pem]
    return bundle, [*parts, b"some text\n" + Pki().root_pem]


@settings(max_examples=60)
@given(data=st.data())
def test_order_repetition_and_the_cut_into_files_make_no_difference(pieces, data):
    bundle, parts = pieces
    more = data.draw(st.lists(st.sampled_from(parts), max_size=4))
    shuffled = data.draw(st.permutations([*parts, *more]))
    files: list[bytes] = []
    for part in shuffled:
        if not files or data.draw(st.booleans()):
            files.append(b"")
        files[-1] += part
    made, findings = assemble(
        Candidate(tuple((f"{i}.pem", content) for i, content in enumerate(files))), lambda _: None
    )
    assert made == bundle
    assert not any(finding.is_error for finding in findings)


@settings(max_examples=60)
@given(st.data())
def test_a_bundle_survives_its_own_files(pki: Pki, data):
    kind = data.draw(st.sampled_from(["ec", "rsa"]))
    issuer = data.draw(st.sampled_from(["intermediate", "root", None]))
    bundle = pki.leaf(key=kind, issuer=issuer).bundle()
    assert Bundle.from_pem(bundle.key_pem(), bundle.chain_pem()) == bundle
