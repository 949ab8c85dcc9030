"""A label in a printer's dots: a sheet drawn as PNG (ISO/IEC 15948), one bit a dot, by no library. Pure.

Promises: each module of the code and each dot of a letter is a whole number of the printer's dots, so that
nothing is blurred; the file says how many dots make a metre, so that it is printed in its true size. Letters
are 5 by 7 dots, as line displays have them: ASCII only, what else there is becomes a question mark.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from certstore.label import Line, Sheet

__all__ = ["Raster", "draw", "to_png"]

_FIRST = " "
# Five columns a character, from the left; the lowest bit is the top dot, the highest one below the base line.
# From the blank to the tilde.
_FONT: Final = bytes.fromhex(
    "0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649562050 0000070000"
    "001c224100 0041221c00 14083e0814 08083e0808 0050300000 0808080808 0060600000 2010080402"
    "3e5149453e 00427f4000 4261514946 2141454b31 1814127f10 2745454539 3c4a494930 0171090503"
    "3649494936 064949291e 0036360000 0056360000 0814224100 1414141414 0041221408 0201510906"
    "324979413e 7e1111117e 7f49494936 3e41414122 7f4141221c 7f49494941 7f09090901 3e4149497a"
    "7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f020c027f 7f0408107f 3e4141413e"
    "7f09090906 3e4151215e 7f09192946 4649494931 01017f0101 3f4040403f 1f2040201f 3f4038403f"
    "6314081463 0708700807 6151494543 007f414100 0204081020 0041417f00 0402010204 4040404040"
    "0001020400 2054545478 7f48444438 3844444420 384444487f 3854545418 087e090102 18a4a4a47c"
    "7f08040478 00447d4000 4080847d00 7f10284400 00417f4000 7c04180478 7c08040478 3844444438"
    "fc24242418 18242424fc 7c08040408 4854545420 043f444020 3c4040207c 1c2040201c 3c4030403c"
    "4428102844 1ca0a0a07c 4464544c44 0008364100 00007f0000 0041360800 0804081008"
)
_WIDE, _HIGH, _STEP = 5, 7, 6
_MM_PER_INCH = 25.4
_MM_PER_METRE = 1000


class Raster:
    """A page of dots, white at first."""

    def __init__(self, width: int, height: int) -> None:
        """Take its size in dots."""
        self.width, self.height = width, height
        self.rows = [bytearray(width) for _ in range(height)]

    def fill(self, x: int, y: int, side: int) -> None:
        """Blacken a square; what of it lies outside is left out."""
        for row in self.rows[max(y, 0) : max(y + side, 0)]:
            end = min(x + side, self.width)
            if end > x:
                row[x:end] = b"\1" * (end - x)


def draw(sheet: Sheet, dpi: int) -> Raster:
    """Draw a sheet in the dots of a printer that has so many to an inch."""
    per_mm = dpi / _MM_PER_INCH
    page = Raster(round(sheet.width * per_mm), round(sheet.height * per_mm))
    x, y, side = sheet.code
    module = max(int(side * per_mm / sheet.across), 1)
    spare = max(round(side * per_mm) - module * sheet.across, 0) // 2
    left, top = round(x * per_mm) + spare, round(y * per_mm) + spare
    for row, column in sheet.dark():
        page.fill(left + column * module, top + row * module, module)
    for line in sheet.lines:
        _write(page, line, per_mm)
    return page


def _write(page: Raster, line: Line, per_mm: float) -> None:
    dot = max(round(line.size * per_mm / 10), 1)  # a size is ten of the font's dots, a capital seven of them
    left, top = round(line.x * per_mm), round(line.y * per_mm) - _HIGH * dot
    for place, character in enumerate(line.text):
        for column, bits in enumerate(_glyph(character)):
            for row in range(_HIGH + 1):
                if bits >> row & 1:
                    page.fill(left + (place * _STEP + column) * dot, top + row * dot, dot)


def _glyph(character: str) -> bytes:
    number = ord(character) - ord(_FIRST)
    if not 0 <= number < len(_FONT) // _WIDE:
        return _glyph("?")
    return _FONT[number * _WIDE : (number + 1) * _WIDE]


def to_png(page: Raster, dpi: int) -> bytes:
    """Write a page as PNG: grey of one bit, where zero is black."""
    lines = b"".join(b"\0" + _packed(row) for row in page.rows)
    metre = round(dpi / _MM_PER_INCH * _MM_PER_METRE)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", page.width, page.height, 1, 0, 0, 0, 0)),
            _chunk(b"pHYs", struct.pack(">IIB", metre, metre, 1)),
            _chunk(b"IDAT", zlib.compress(lines, 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _packed(row: bytearray) -> bytes:
    """Put eight dots into a byte, the first one into its highest bit."""
    padded = row + bytes(-len(row) % 8)
    bits = int(padded.translate(_AS_BITS), 2)
    return bits.to_bytes(len(padded) // 8, "big")


_AS_BITS: Final = bytes([ord("1"), ord("0")]) + bytes(254)  # white is one


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
