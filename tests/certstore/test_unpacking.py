"""Archives: what comes out is little, whatever is claimed; what can't come out is told by a code."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.decode import LARGEST_FILE, decode
from certstore.unpacking import MOST_UNPACKED, ArchiveError, Member, Room, is_archive, unpack
from tests.pki import Pki
from tests.vectors.intake.packed import tarred, zipped

FILES = {"a.pem": b"one", "b/c.pem": b"two" * 300, "empty": b""}


@pytest.mark.parametrize(
    "data",
    [
        zipped(FILES),
        zipped(FILES, zipfile.ZIP_STORED),
        tarred(FILES),
        gzip.compress(tarred(FILES)),
        bz2.compress(tarred(FILES)),
        lzma.compress(tarred(FILES)),
    ],
)
def test_the_files_come_out_with_their_names(data):
    room = Room()
    assert is_archive(data)
    assert {member.name: member.content for member in unpack(data, room)} == FILES
    assert room.left <= MOST_UNPACKED


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_costs_no_more_than_the_room(compress):
    data = compress(bytes(64 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="archive_too_large"):
            unpack(data, Room())
        assert tracemalloc.get_traced_memory()[1] < 8 * MOST_UNPACKED
    finally:
        tracemalloc.stop()


def test_members_that_share_their_bytes_and_lie_about_their_size_are_counted_as_they_come():
    """The central directory may name one compressed blob a hundred times (a bomb without recursion)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 20))
        entry = archive.infolist()[0]
        archive.filelist.extend([entry] * 90)
    with pytest.raises(ArchiveError, match="archive_too_large"):
        unpack(out.getvalue(), Room())


def test_the_room_is_one_for_all_archives_of_a_candidate(pki: Pki):
    large = zipped({f"{i}.txt": bytes(LARGEST_FILE) for i in range(2)})
    files = [("a.zip", large), ("b.zip", large + b""), ("c.zip", zipped({"x": bytes(10)}))]
    codes = [finding.code for finding in decode(files).findings]
    assert "archive_too_large" in codes


def test_a_file_of_an_archive_is_no_larger_than_any_other():
    found = decode([("a.zip", zipped({"large.pem": b"#" * (LARGEST_FILE + 1)}))]).findings
    assert [(finding.code, finding.words.split()[0]) for finding in found] == [
        ("file_too_large", "large.pem")
    ]


def test_a_header_of_tar_after_another_that_says_how_long_the_name_is_needs_no_recursion():
    header = bytearray(tarred({"x": b""})[:512])
    header[156] = ord("L")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(ArchiveError, match="archive_too_large"):
        unpack(bytes(header) * 5000, Room())


@pytest.mark.parametrize("name", [b"\0pem", b"\0\0\0\0", b"////", b"a\n\x1b["])
def test_a_name_that_no_file_can_have_is_a_name_all_the_same(pki: Pki, name: bytes):
    """zipfile cuts a name at its first zero, and then asks for the last character of nothing."""
    data = zipped({"pppp": pki.leaf().chain_pem}).replace(b"pppp", name)
    found = decode([("a.zip", data)])
    assert len(found.certificates) == (0 if name == b"////" else 2)
    assert all(finding.words.isprintable() for finding in found.findings)


def test_an_entry_without_any_name_is_read():
    out = io.BytesIO()
    entry = zipfile.ZipInfo("x")
    entry.filename = ""
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(entry, b"one")
    assert [member.content for member in unpack(out.getvalue(), Room())] == [b"one"]


WHOLE = (zipped(FILES), tarred(FILES), gzip.compress(tarred(FILES)))


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=6), st.sampled_from(WHOLE))
def test_a_damaged_archive_gives_files_or_a_reason(at: int, damage: bytes, whole: bytes):
    at %= len(whole)
    with suppress(ArchiveError):
        assert all(isinstance(one, Member) for one in unpack(whole[:at] + damage + whole[at:], Room()))
    with suppress(ArchiveError):
        unpack(whole[:at] + damage + whole[at + len(damage) :], Room())
