"""Laws of decoding: however the corpus is damaged, what comes out is a bundle, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certstore import Candidate, Refusal, derivation
from certstore.asn1 import first
from certstore.assembly import assemble
from certstore.checks import check
from certstore.circumstances import Circumstances
from certstore.contents import read_content
from certstore.findings import CATALOGUE, genuine
from certstore.unpacking import MOST_MEMBERS, MOST_UNPACKED, ArchiveError, Room, is_archive, unpack
from tests.intake import corpus

FILES = [
    (path.suffix, path.read_bytes(), case.passphrase or "")
    for case in corpus()
    for path in case.paths
    if path.stat().st_size < 20_000
]
ARCHIVES = [data for _, data, _ in FILES if is_archive(data)]


@pytest.fixture(scope="module", autouse=True)
def few_rounds() -> Iterator[None]:
    """Let no example take long: what is refused at a million rounds is refused here at ten thousand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derivation, "MOST_ROUNDS", 10_240)
        yield


@st.composite
def damaged(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """Give a file with some bytes changed, cut out, put in, or with a piece of another one."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["change", "cut", "fill", "splice", "end"])):
            case "change":
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "fill":
                data[at:at] = draw(st.binary(max_size=8))
            case "splice":
                other = draw(st.sampled_from(whole))
                data[at : at + 20] = other[at : at + 20]
            case "end":
                del data[at:]
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_damaged_file_makes_a_bundle_or_a_refusal_with_an_error_that_can_be_told(data):
    contents = data.draw(st.lists(damaged([one for _, one, _ in FILES]), min_size=1, max_size=3))
    word = data.draw(st.sampled_from(["", "sesame42", "pässwörd €42", "\0"]))
    files = tuple((f"{i}.p12", content) for i, content in enumerate(contents))
    bundle = None
    try:
        bundle, findings = assemble(Candidate(files, (word.encode(),) if word else ()), lambda _spki: None)
    except Refusal as refusal:
        findings = refusal.findings
    assert any(finding.is_error for finding in map(genuine, findings)) == (bundle is None)
    if bundle is not None:
        check(bundle, Circumstances(bundle.not_before, clock_plausible=True))


@settings(max_examples=200, deadline=None)
@given(damaged([one for _, one, _ in FILES]))
def test_a_damaged_file_in_a_directory_holds_something_or_has_an_error(content):
    held = read_content("x.pem", content)
    assert bool(held.errors) != bool(held.certificates or held.keys)
    assert not held.errors or held.errors[0].is_error


@settings(max_examples=200, deadline=None)
@given(damaged(ARCHIVES))
def test_a_damaged_archive_gives_few_members_within_the_room_or_says_what_is_wrong(content):
    room = Room()
    if not is_archive(content):
        return
    try:
        members = unpack(content, room)
    except ArchiveError as error:
        CATALOGUE[error.code].words.format(file="a", **error.facts)
        return
    assert len(members) <= MOST_MEMBERS
    assert sum(len(member.content) for member in members) <= MOST_UNPACKED
    assert room.left >= 0


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=60), damaged([one for _, one, _ in FILES])))
def test_an_element_and_what_follows_it_are_what_there_was(data):
    try:
        element, rest = first(data)
    except ValueError:
        return
    assert element.whole + rest == data
    assert element.content in element.whole
    try:
        parts = list(element.fields())
    except ValueError:
        return
    assert b"".join(part.whole for part in parts) == element.content
    assert all(first(part.whole) == (part, b"") for part in parts)
