"""Unpacking: the files in a zip or tar archive, as authorities send them; one level, few, and small.

Promises: members with their contents, or an `ArchiveError`; never more than the given bytes come out,
however much is claimed or packed in, and no more memory is taken than some times that. Nothing is written,
and no path is used: a member's name is a word for people. Links, devices and directories are passed over.
Refuses to know: what the members hold.

Theory. A bomb is small and unpacks to terabytes, by a ratio (deflate does 1,000 to 1, bzip2 more), by
members that share their bytes, or by archives in archives. So the output is counted while it comes, over all
members and all archives of a candidate; and an archive in an archive stays closed. zip is read by `zipfile`,
whose lists grow with the entries, so that they are counted in the bytes before; tar is read here, because
`tarfile` follows long names by recursion and searches its headers in quadratic time (CVE-2024-6232).
"""

from __future__ import annotations

import bz2
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ArchiveError", "Member", "Room", "is_archive", "unpack"]

MOST_MEMBERS: Final = 100  # authorities send three to ten
MOST_UNPACKED: Final = 4 << 20  # bytes, all archives of a candidate together; a chain has some KB
_LZMA_MEMORY: Final = 48 << 20  # xz -6 takes 9 MiB, -8 33 MiB
_BLOCK: Final = 512  # of tar (POSIX.1-1988)
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_ENTRY: Final = b"PK\x01\x02"
_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"
_READABLE: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# What zipfile raises for what is no good zip (its source, and fuzzing); an unknown method is a RuntimeError.
_BAD_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
    OSError,
)


class ArchiveError(ValueError):
    """An archive can't be unpacked; `code` and `facts` are those of the finding that tells it."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code, facts)
        self.code, self.facts = code, facts


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. The repr shows no content."""

    name: str
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Room:
    """How many bytes may yet be unpacked."""

    left: int = MOST_UNPACKED

    def take(self, content: bytes) -> bytes:
        """Account for what was read; who reads asks for one byte more than is left."""
        if len(content) > self.left:
            raise ArchiveError("archive_too_large", limit=f"{MOST_UNPACKED} bytes")
        self.left -= len(content)
        return content


def is_archive(data: bytes) -> bool:
    """Say whether this is an archive or compressed, by its first bytes."""
    return data.startswith((*_ZIP, _GZIP, _BZIP2, _XZ)) or _is_tar(data)


def unpack(data: bytes, room: Room) -> tuple[Member, ...]:
    """Take the files out. What is only compressed is one file without a name."""
    if data.startswith(_ZIP):
        return _unzip(data, room)
    if not _is_tar(data):
        data = _decompress(data, room)
        if not _is_tar(data):
            return (Member("", data),)
    return tuple(_untar(data))


def _unzip(data: bytes, room: Room) -> tuple[Member, ...]:
    if data.count(_ZIP_ENTRY) > MOST_MEMBERS:
        raise ArchiveError("archive_too_large", limit=f"{MOST_MEMBERS} files")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # not by is_dir(), which fails for a name that is empty, or begins with a zero
            files = (entry for entry in archive.infolist() if not entry.filename.endswith("/"))
            return tuple(_unzipped(archive, entry, room) for entry in files)
    except ArchiveError:
        raise
    except _BAD_ZIP as error:
        raise ArchiveError("archive_damaged", why=_words(error)) from None


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, room: Room) -> Member:
    if entry.flag_bits & 1:
        raise ArchiveError("archive_encrypted")
    if entry.compress_type not in _READABLE:
        raise ArchiveError("archive_damaged", why="it is compressed by a method that is not known here")
    with archive.open(entry) as opened:
        return Member(entry.filename, room.take(opened.read(room.left + 1)))


def _decompress(data: bytes, room: Room) -> bytes:
    most = room.left + 1
    try:
        if data.startswith(_GZIP):
            packed = zlib.decompressobj(wbits=31)
            plain, is_whole = packed.decompress(data, most), packed.eof
        elif data.startswith(_BZIP2):
            bzip2 = bz2.BZ2Decompressor()
            plain, is_whole = bzip2.decompress(data, most), bzip2.eof
        else:
            xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
            plain, is_whole = xz.decompress(data, most), xz.eof
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise ArchiveError("archive_damaged", why=_words(error)) from None
    room.take(plain)
    if not is_whole:
        raise ArchiveError("archive_damaged", why="it is cut off")
    return plain


def _is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"  # GNU's and POSIX' alike; older ones are of the 1980s


def _untar(data: bytes) -> Iterator[Member]:
    """Go through the headers (pax(1), "ustar Interchange Format"); long names, elsewhere, are lost."""
    at = count = 0
    while at + _BLOCK <= len(data) and data[at] != 0:
        header = data[at : at + _BLOCK]
        size, kind = _tar_size(header), header[156:157]
        count += 1
        if count > MOST_MEMBERS:
            raise ArchiveError("archive_too_large", limit=f"{MOST_MEMBERS} files")
        start = at + _BLOCK
        if size > len(data) - start:
            raise ArchiveError("archive_damaged", why="it is cut off")
        if kind in {b"0", b"\0"}:
            name = header[:100].split(b"\0")[0].decode("utf-8", "replace")
            yield Member(name, data[start : start + size])
        at = start + -(-size // _BLOCK) * _BLOCK


def _tar_size(header: bytes) -> int:
    sums = header[148:156].strip(b" \0")
    plain = sum(header) - sum(header[148:156]) + 8 * 0x20
    digits = header[124:136].strip(b" \0")
    try:
        right, size = int(sums, 8) == plain, int(digits or b"0", 8)
    except ValueError:  # GNU's form for more than 8 GiB has the highest bit set: it is no digit
        right, size = False, 0
    if not right or size < 0:
        raise ArchiveError("archive_damaged", why="a header in it is damaged")
    return size


def _words(error: Exception) -> str:
    return str(error).partition("\n")[0].lower() or type(error).__name__
