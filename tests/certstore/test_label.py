"""The sticker: its facts, its text, its sheet, and the pictures that are made of it."""

from __future__ import annotations

import struct
import subprocess
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace
from itertools import chain

import pytest
import segno
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certstore.fingerprints import pin
from certstore.issuers.selfsigned import Identity, issue, new_key
from certstore.label import Label, Sheet, lay_out, to_svg, to_text
from certstore.raster import Raster, draw, to_png

SVG = "{http://www.w3.org/2000/svg}"
LABEL = Label("px-1.devices.example", "PX-000001", "1f0c22ab" * 8, "deadbeef01234567" * 4, "https://px-1/")

labels = st.builds(
    Label,
    name=st.text(min_size=1, max_size=253),
    serial=st.text(max_size=64),
    spki=st.binary(min_size=32, max_size=32).map(bytes.hex),
    fingerprint=st.one_of(st.just(""), st.binary(min_size=32, max_size=32).map(bytes.hex)),
    url=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=200),
)


def pixels(png: bytes) -> list[list[int]]:
    """Decode a PNG of one grey bit by what the standard says: 1 is a dark dot."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + size
    width, height, *form = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert form == [1, 0, 0, 0, 0]
    lines = zlib.decompress(chunks[b"IDAT"])
    step = 1 + (width + 7) // 8
    assert len(lines) == height * step
    rows = []
    for start in range(0, len(lines), step):
        assert lines[start] == 0
        bits = "".join(f"{byte:08b}" for byte in lines[start + 1 : start + step])
        rows.append([1 - int(bit) for bit in bits[:width]])
    return rows


class TestFacts:
    def test_the_factorys_certificate_is_printed_with_both_fingerprints(self, pki):
        bundle = pki.leaf(("b.example", "a.example")).bundle()
        label = Label.of(bundle.leaf, sealed=True)
        assert (label.name, label.spki, label.fingerprint) == ("b.example", bundle.spki, bundle.fingerprint)
        assert label.code == f"https://b.example/#{pin(bundle.spki)}"

    def test_the_devices_own_certificate_is_printed_by_its_key_which_survives_a_new_one(self, now):
        identity, key = Identity(("pump.local", "10.0.0.7", "pump"), "P-7", "pump.local"), new_key()
        first, second = (Label.of(issue(identity, key, now).leaf, sealed=False) for _ in range(2))
        assert first == second
        assert (first.name, first.serial, first.fingerprint) == ("pump.local", "P-7", "")

    @pytest.mark.parametrize(
        ("names", "name", "url"),
        [
            (("*.example", "10.0.0.7", "unit.example"), "unit.example", "https://unit.example/"),
            (("10.0.0.7",), "10.0.0.7", "https://10.0.0.7/"),
            (("2001:db8::7",), "2001:db8::7", "https://[2001:db8::7]/"),
            ((), "Unit seven", ""),
        ],
    )
    def test_the_code_opens_a_name_that_can_be_asked_for(self, pki, names, name, url):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Unit seven")])
        leaf = pki.leaf(names, tweak=lambda builder: _with_subject(builder, subject)).certificate
        label = Label.of(leaf, sealed=True)
        assert (label.name, label.url) == (name, url)
        assert label.code == (f"{url}#" if url else "") + pin(label.spki)

    def test_another_page_may_be_opened(self, pki):
        leaf = pki.leaf().certificate
        spki = Label.of(leaf, sealed=True).spki
        asked = Label.of(leaf, sealed=True, url="https://start.example/?sn=1")
        assert asked.code == f"https://start.example/?sn=1#{pin(spki)}"

    def test_what_an_authority_wrote_unprintably_is_printed_harmlessly(self, pki):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a\0b\x1b[2J<&>")])
        leaf = pki.leaf((), tweak=lambda builder: _with_subject(builder, subject)).certificate
        label = Label.of(leaf, sealed=True)
        assert label.name.isprintable()
        ET.fromstring(to_svg(lay_out(label)))


def _with_subject(builder: x509.CertificateBuilder, subject: x509.Name) -> x509.CertificateBuilder:
    builder._subject_name = subject  # it may be set only once
    return builder


class TestText:
    def test_it_is_as_the_page_for_manufacturers_shows_it(self):
        assert to_text(LABEL).splitlines() == [
            "px-1.devices.example",
            "serial PX-000001",
            "",
            "key SHA-256",
            "1F0C 22AB 1F0C 22AB 1F0C 22AB 1F0C 22AB",
            "1F0C 22AB 1F0C 22AB 1F0C 22AB 1F0C 22AB",
            "",
            "certificate SHA-256",
            "DEAD BEEF 0123 4567 DEAD BEEF 0123 4567",
            "DEAD BEEF 0123 4567 DEAD BEEF 0123 4567",
        ]

    @given(labels)
    def test_it_never_takes_more_than_forty_columns(self, label):
        assert all(len(line) <= 40 for line in to_text(label).split("\n"))


class TestSheet:
    @given(labels)
    def test_everything_lies_on_the_sheet_and_nothing_on_the_code(self, label):
        sheet = lay_out(label)
        x, y, side = sheet.code
        assert x + side <= sheet.width
        assert y + side <= sheet.height
        for line in sheet.lines:
            assert line.x > x + side
            assert line.x + len(line.text) * 0.6 * line.size <= sheet.width
            assert line.size * 0.7 <= line.y <= sheet.height
        for one, below in zip(sheet.lines, sheet.lines[1:], strict=False):
            assert below.y > one.y or below.x > one.x

    def test_the_code_is_segnos(self):
        code = segno.make(LABEL.code, error="m", micro=False)
        assert [list(row) for row in lay_out(LABEL).modules] == [
            [bool(c) for c in row] for row in code.matrix
        ]


class TestSvg:
    @given(labels)
    def test_it_parses_and_holds_its_true_size_and_every_line(self, label):
        name, serial = (
            "".join(c if c.isprintable() else "?" for c in text) for text in (label.name, label.serial)
        )
        label = replace(label, name=name, serial=serial)
        sheet = lay_out(label)
        root = ET.fromstring(to_svg(sheet))
        assert root.tag == f"{SVG}svg"
        assert (root.get("width"), root.get("height")) == (f"{sheet.width:g}mm", f"{sheet.height:g}mm")
        assert [text.text or "" for text in root.iter(f"{SVG}text")] == [line.text for line in sheet.lines]
        assert "href" not in to_svg(sheet), "self-contained"

    def test_its_code_has_a_square_for_each_dark_module(self):
        sheet = lay_out(LABEL)
        path = ET.fromstring(to_svg(sheet)).find(f"{SVG}path")
        assert path is not None
        assert path.get("d", "").count("M") == sum(chain.from_iterable(sheet.modules))


class TestPng:
    @pytest.mark.parametrize("dpi", [203, 300, 600])
    def test_every_module_of_the_code_is_a_whole_square_of_dots(self, dpi):
        sheet = lay_out(LABEL)
        rows = pixels(to_png(draw(sheet, dpi), dpi))
        assert abs(len(rows[0]) - sheet.width * dpi / 25.4) <= 1
        dots = int(sheet.code[2] * dpi / 25.4 / sheet.across)
        first = next((y, row.index(1)) for y, row in enumerate(rows) if 1 in row[: int(26 * dpi / 25.4)])
        top, left = first  # of the finder in the corner, which is dark
        for row, cells in enumerate(sheet.modules):
            for column, is_dark in enumerate(cells):
                square = [
                    rows[top + row * dots + y][left + column * dots + x]
                    for y in range(dots)
                    for x in range(dots)
                ]
                assert set(square) == {int(is_dark)}

    def test_each_letter_that_a_name_may_have_looks_like_no_other(self):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"
        seen = {}
        for letter in alphabet:
            sheet = Sheet(8, 8, (_line(letter),), (), (0, 0, 0))
            seen[bytes(chain.from_iterable(draw(sheet, 254).rows))] = letter
        assert len(seen) == len(alphabet)

    @given(st.binary(min_size=1, max_size=300), st.integers(1, 40))
    def test_a_page_is_written_dot_for_dot(self, dots, width):
        page = Raster(width, -(-len(dots) // width))
        for at, dot in enumerate(dots):
            page.rows[at // width][at % width] = dot & 1
        assert pixels(to_png(page, 300)) == [list(row) for row in page.rows]

    @pytest.mark.parametrize("dpi", [203, 300])
    def test_a_scanner_reads_the_code(self, tool, tmp_path, dpi):
        zbarimg = tool("zbarimg")
        path = tmp_path / "label.png"
        path.write_bytes(to_png(draw(lay_out(LABEL), dpi), dpi))
        done = subprocess.run(
            [zbarimg, "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", str(path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.strip() == LABEL.code


def _line(text: str):
    from certstore.label import Line

    return Line(1, 6, 5, text)
