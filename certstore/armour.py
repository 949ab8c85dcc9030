"""Armour: the bytes of any file a customer has, to labelled blocks of DER.

Promises: PEM in any order, with text around it, with CRLF, in UTF-16 with a byte order mark or without, or
with two blocks on one line (what `cat` makes of files without a last newline); else DER, one element or
several; else DER in base64 without its BEGIN and END, which people copy from web pages. Never raises, takes
time linear in the file, and says where a file is cut off, which is what a broken copy looks like.
Refuses to know: what a block holds (decode.py).
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["DER", "MOST_BLOCKS", "Block", "Unwrapped", "unwrap"]

DER = ""  # the label of a block that came without armour: its content must say what it is

_MARK = re.compile(r"-----(BEGIN|END) ([A-Za-z0-9 #.]{1,64})-----")
_OPENING = "-----BEGIN "
# Elements of a DER file: more than a hundred certificates with ten keys is no candidate, but each element has
# to be tried for what it is (half a million empty ones took 16 s)
MOST_ELEMENTS = 256
# Blocks of a PEM file: an authority's list of roots has some 150, and each block costs a look.
MOST_BLOCKS = 512
# RFC 1421 headers before the base64 ("Proc-Type: 4,ENCRYPTED"): old OpenSSL keys are encrypted so
_HEADER = re.compile(r"[A-Za-z0-9-]+: ?[^\n]*")
_BARE = re.compile(rb"MI[A-Za-z0-9+/=\s]+")  # "MI" is how a SEQUENCE of 128 bytes to 64 KiB begins in base64
# PEM in UTF-16 without a mark, as some editors save it: in either order of bytes
_WIDE = ((_OPENING.encode("utf-16-le"), "utf-16-le"), (_OPENING.encode("utf-16-be"), "utf-16-be"))


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its PEM label (`DER` where there was none) and its bytes, None where base64 doesn't decode.

    `encrypted` says that RFC 1421 headers declare it so, and `cipher` what its DEK-Info is. The repr shows no
    content: it may be a key.
    """

    label: str
    content: bytes | None
    encrypted: bool = False
    cipher: str = ""

    def __repr__(self) -> str:
        return f"Block({self.label!r}, {len(self.content or b'')} bytes)"


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The blocks of a file in their order; `truncated` when one has a beginning or an end only.

    There is one block more than MOST_BLOCKS where there are too many.
    """

    blocks: tuple[Block, ...]
    truncated: bool


def unwrap(data: bytes) -> Unwrapped:
    """Take the armour off a file. No blocks and not truncated: it is neither PEM nor DER."""
    text = _text(data)
    if _OPENING in text or _MARK.search(text):
        return _unwrap_pem(text)
    return _unwrap_der(_bared(data))


def _text(data: bytes) -> str:
    # Windows' editors write UTF-8 with a mark, PowerShell's `>` UTF-16; no mark is plain ASCII, or DER
    for mark, codec in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, errors="replace")
    for opening, codec in _WIDE:
        if (at := data.find(opening)) >= 0:
            return data[at % 2 :].decode(codec, errors="replace")
    return data.decode("latin-1")


def _bared(data: bytes) -> bytes:
    """Give the DER that bare base64 holds; anything else as it is."""
    if _BARE.fullmatch(data):
        with suppress(binascii.Error):
            return base64.b64decode(b"".join(data.split()), validate=True)
    return data


def _unwrap_pem(text: str) -> Unwrapped:
    blocks: list[Block] = []
    truncated = False
    open_label: str | None = None
    start = end = 0
    for mark in _MARK.finditer(text):
        kind, label = mark[1], mark[2]
        if kind == "BEGIN":
            truncated = truncated or open_label is not None
            open_label, start = label, mark.end()
        else:
            if len(blocks) > MOST_BLOCKS:
                break
            if open_label == label:
                blocks.append(_block(label, text[start : mark.start()]))
            else:
                truncated = True
            open_label = None
        end = mark.end()
    if len(blocks) > MOST_BLOCKS:
        return Unwrapped(tuple(blocks), truncated=False)
    # a BEGIN without its END, or the beginning of one at the very end
    truncated = truncated or open_label is not None or _OPENING in text[end:]
    return Unwrapped(tuple(blocks), truncated)


def _block(label: str, body: str) -> Block:
    lines = body.replace("\r\n", "\n").replace("\r", "\n").strip().split("\n")
    headers: dict[str, str] = {}
    first = 0
    while first < len(lines) and _HEADER.fullmatch(lines[first].strip()):
        name, _, value = lines[first].partition(":")
        headers[name.strip().lower()] = value.strip()
        first += 1
    encrypted = any("ENCRYPTED" in value for value in headers.values())
    cipher = headers.get("dek-info", "")
    payload = "".join("".join(lines[first:]).split())
    try:
        content = base64.b64decode(payload.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return Block(label, None, encrypted, cipher)
    return Block(label, content or None, encrypted, cipher)


def _unwrap_der(data: bytes) -> Unwrapped:
    blocks: list[Block] = []
    rest = data
    while rest[:1] == b"\x30":  # a SEQUENCE: certificates, keys and containers all begin so (X.690)
        size = _der_size(rest)
        if size is None or size > len(rest):
            return Unwrapped(tuple(blocks), truncated=True)
        if len(blocks) == MOST_ELEMENTS:
            return Unwrapped((), truncated=False)
        blocks.append(Block(DER, rest[:size]))
        rest = rest[size:].lstrip(b"\r\n")  # what a transfer in text mode puts behind
    if rest.strip():
        return Unwrapped((), truncated=False)  # text that begins with "0", or garbage behind
    return Unwrapped(tuple(blocks), truncated=False)


def _der_size(data: bytes) -> int | None:
    """Give the whole size of the DER element at the start; None when even its header is cut off."""
    if len(data) < 2:
        return None
    first = data[1]
    if first < 0x80:
        return 2 + first
    if first == 0x80:  # BER's indefinite length: only containers (PKCS #7, #12) are written so; it is all one
        return len(data)
    count = first & 0x7F
    if count > 4:  # longer than any file we read
        return len(data) + 1
    if len(data) < 2 + count:
        return None
    return 2 + count + int.from_bytes(data[2 : 2 + count], "big")
