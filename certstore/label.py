"""The sticker on a unit: who it is, and the fingerprints by which a person knows it again. Pure.

What is printed is the identity that the device keeps for its life: the factory's where there is one, else its
own. The key's hash (SHA-256 over the SubjectPublicKeyInfo) comes first, since it stays true when the
certificate is issued anew; the certificate's own is printed only where that is sealed. The QR code (segno's
only host) opens the device's page; behind the `#`, which no browser sends anywhere, it holds the key's hash
as `curl --pinnedpubkey` takes it, for a set-up program that compares by itself. A browser can't: there the
eye does.

One sheet is laid out in millimetres; SVG is that sheet, PNG (raster.py) draws it for a printer's dots. The
text fits into 40 columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

import segno
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from certstore.bundle import spki_of
from certstore.extensions import alternative_names, name_words
from certstore.fingerprints import in_lines, pin
from certstore.issuers.factory import serial_in
from certstore.names import is_address

__all__ = ["ADVANCE", "CAP", "Label", "Line", "Sheet", "lay_out", "to_svg", "to_text"]

COLUMNS: Final = 40
# A character's form, in parts of its size: that of common fixed-width fonts, and of 5 by 7 dots and a gap.
ADVANCE: Final = 0.6
CAP: Final = 0.7

_MARGIN = 2.0  # millimetres, all of these
_CODE = 24.0  # with its quiet zone: modules of half a millimetre, which telephones read at a hand's distance
_BODY, _TITLE = 2.5, 3.75  # 2 and 3 dots to a font's dot at 203 dpi, the commonest label printer
_PITCH = 1.35  # from line to line, in sizes
_COLUMN = 19 * ADVANCE * _BODY  # four groups of four digits
_GAP = 3.0
_QUIET = 4  # modules of white around a code (ISO/IEC 18004)


@dataclass(frozen=True, slots=True)
class Label:
    """What is printed. `spki` and `fingerprint` are lower-case hex; the second is "" unless it is for life.

    `url` is what the code opens; "" where there is no name to open.
    """

    name: str
    serial: str
    spki: str
    fingerprint: str
    url: str

    @classmethod
    def of(cls, leaf: x509.Certificate, *, sealed: bool, url: str | None = None) -> Label:
        """Make the label of a device with this certificate; `url` instead of the one of its name."""
        names, _ = alternative_names(leaf)
        name = _name(leaf, names)
        own = f"https://{f'[{name}]' if ':' in name else name}/" if name in names else ""
        return cls(
            name=_printable(name),
            serial=_printable(serial_in(leaf.subject)),
            spki=spki_of(leaf.public_key()),
            fingerprint=leaf.fingerprint(SHA256()).hex() if sealed else "",
            url=own if url is None else url,
        )

    @property
    def code(self) -> str:
        """What the QR code holds."""
        return f"{self.url}{'' if '#' in self.url or not self.url else '#'}{pin(self.spki)}"

    def to_json(self) -> dict[str, object]:
        """Give all of it for a label printer's own program."""
        return {
            "name": self.name,
            "serial": self.serial or None,
            "spki_sha256": self.spki,
            "sha256": self.fingerprint or None,
            "qr": self.code,
        }


def _printable(text: str) -> str:
    """Take out what can't be printed: an authority may have written anything."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _name(leaf: x509.Certificate, names: Sequence[str]) -> str:
    """Choose how people know it: by its common name if that can be asked for, else by its first host name."""
    common = [str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    hosts = [name for name in names if not is_address(name) and not name.startswith("*.")]
    addresses = [name for name in names if is_address(name)]
    fitting = [name for name in common if name in names]
    return next(iter((*fitting, *hosts, *addresses)), name_words(leaf.subject))


def to_text(label: Label) -> str:
    """Write a label in at most 40 columns."""
    lines = [*_wrapped(label.name, COLUMNS)]
    if label.serial:
        lines += _wrapped(f"serial {label.serial}", COLUMNS)
    for caption, fingerprint in _prints(label):
        lines += ["", caption, *in_lines(fingerprint, 8)]
    return "\n".join(lines) + "\n"


def _prints(label: Label) -> Iterator[tuple[str, str]]:
    yield "key SHA-256", label.spki
    if label.fingerprint:
        yield "certificate SHA-256", label.fingerprint


def _wrapped(text: str, columns: int) -> list[str]:
    return [text[at : at + columns] for at in range(0, len(text), columns)]


# --- a sheet, in millimetres ---


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text: where its base line begins, and its size. Each character is `ADVANCE` sizes wide."""

    x: float
    y: float
    size: float
    text: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A label as it is drawn. `modules` are the rows of the code, dark ones true, without the quiet zone.

    `code` is where the code's square begins, and how wide it is, the quiet zone (4 modules) included.
    """

    width: float
    height: float
    lines: tuple[Line, ...]
    modules: tuple[tuple[bool, ...], ...]
    code: tuple[float, float, float]

    @property
    def across(self) -> int:
        """The modules of the code's square, the quiet zone included."""
        return len(self.modules) + 2 * _QUIET

    def dark(self) -> Iterator[tuple[int, int]]:
        """Give row and column of each dark module, counted with the quiet zone."""
        for row, cells in enumerate(self.modules, _QUIET):
            yield from ((row, column) for column, is_dark in enumerate(cells, _QUIET) if is_dark)


def lay_out(label: Label) -> Sheet:
    """Place all that is on a label."""
    prints = list(_prints(label))
    left = _MARGIN + _CODE + _MARGIN
    width = left + len(prints) * _COLUMN + (len(prints) - 1) * _GAP + _MARGIN
    lines = list(_stacked(_head(label, width - left - _MARGIN), left, _MARGIN))
    top = lines[-1].y + _BODY * (_PITCH - CAP) + 1.0
    below: list[Line] = []
    for place, (caption, fingerprint) in enumerate(prints):
        texts = [(text, _BODY) for text in (caption, *in_lines(fingerprint, 4))]
        below += _stacked(texts, left + place * (_COLUMN + _GAP), top)
    height = max(*(line.y for line in below), _MARGIN + _CODE) + _MARGIN
    code = segno.make(label.code, error="m", micro=False)
    modules = tuple(tuple(bool(cell) for cell in row) for row in code.matrix)
    return Sheet(width, height, (*lines, *below), modules, (_MARGIN, _MARGIN, _CODE))


def _head(label: Label, width: float) -> list[tuple[str, float]]:
    size = _TITLE if len(label.name) * ADVANCE * _TITLE <= width else _BODY
    in_body = int(width / (ADVANCE * _BODY))
    head = [(text, size) for text in _wrapped(label.name, int(width / (ADVANCE * size)))]
    if label.serial:
        head += [(text, _BODY) for text in _wrapped(f"serial {label.serial}", in_body)]
    return head


def _stacked(texts: Iterable[tuple[str, float]], x: float, top: float) -> Iterator[Line]:
    """Place lines one below the other."""
    for text, size in texts:
        yield Line(x, top + CAP * size, size, text)
        top += _PITCH * size


def to_svg(sheet: Sheet) -> str:
    """Draw a sheet as SVG: self-contained, of the right size on paper, the same in whatever font there is."""
    x, y, side = sheet.code
    scale = side / sheet.across
    path = "".join(f"M{column} {row}h1v1h-1z" for row, column in sheet.dark())
    texts = "\n".join(_svg_text(line) for line in sheet.lines)
    size = f'width="{sheet.width:g}mm" height="{sheet.height:g}mm"'
    place = f'transform="translate({x:g} {y:g}) scale({scale:.6g})" shape-rendering="crispEdges"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {sheet.width:g} {sheet.height:g}">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<path {place} d="{path}"/>\n'
        f'<g font-family="monospace">\n{texts}\n</g>\n</svg>\n'
    )


def _svg_text(line: Line) -> str:
    width = len(line.text) * ADVANCE * line.size
    weight = ' font-weight="bold"' if line.size > _BODY else ""
    place = f'x="{line.x:g}" y="{line.y:.4g}" font-size="{line.size:g}" textLength="{width:.4g}"'
    form = f'lengthAdjust="spacingAndGlyphs"{weight} xml:space="preserve"'
    return f"<text {place} {form}>{escape(line.text)}</text>"
