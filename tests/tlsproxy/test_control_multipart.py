"""Forms with files: what curl and browsers send is read byte for byte; what is none is a ValueError."""

from __future__ import annotations

from contextlib import suppress

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.control.multipart import Part, parse_form

TYPE = "multipart/form-data; boundary=B"


def form(*parts: bytes, end: bytes = b"--B--\r\n") -> bytes:
    return b"".join(b"--B\r\n" + part + b"\r\n" for part in parts) + end


def part(head: bytes, content: bytes = b"x") -> bytes:
    return b"Content-Disposition: form-data; " + head + b"\r\n\r\n" + content


contents = st.binary(max_size=200) | st.sampled_from([b"\r\n", b"\r\n--", b"--B", b"\n--B--\n", b"\0"])


@given(st.lists(st.tuples(st.text('aä"\\% ;\r\n', min_size=1, max_size=8), contents), min_size=1, max_size=5))
def test_what_another_library_writes_is_read_byte_for_byte(files: list[tuple[str, bytes]]) -> None:
    request = httpx2.Request(
        "POST", "http://x", files=[("file", item) for item in files], data={"via": "a test"}
    )
    found = parse_form(request.read(), request.headers["content-type"])
    assert [(one.name, one.content) for one in found if one.file_name is None] == [("via", b"a test")]
    assert [(one.file_name, one.content) for one in found if one.file_name is not None] == files


def test_a_name_without_quotes_and_a_quoted_boundary_are_read() -> None:
    body = form(part(b"name=a; filename=b.pem", b"1\r\n2"))
    expected = (Part("a", "b.pem", b"1\r\n2"),)
    assert parse_form(body, TYPE) == parse_form(body, 'multipart/form-data; boundary="B"') == expected


def test_other_header_fields_of_a_part_and_an_empty_file_are_fine() -> None:
    body = form(b"X: y\r\n" + part(b'name="a"; filename=""', b"").replace(b"\r\n\r\n", b"\r\nZ: 1\r\n\r\n"))
    assert parse_form(body, TYPE) == (Part("a", "", b""),)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (form(part(b"name=a")), "multipart/form-data", "no boundary"),
        (form(part(b"name=a")), TYPE + "; boundary=C", "two boundaries"),
        (form(part(b"name=a; name=b")), TYPE, "twice"),
        (form(b"Content-Disposition: form-data; name=b\r\n" + part(b"name=a")), TYPE, "twice"),
        (form(b"Content-Transfer-Encoding: base64\r\n" + part(b"name=a")), TYPE, "encoded"),
        (b"", TYPE, "begin and end"),
        (b"preamble" + form(part(b"name=a")), TYPE, "begin and end"),
        (form(part(b"name=a"), end=b""), TYPE, "begin and end"),
        (form(part(b"name=a"), part(b"name=b"), end=b""), TYPE, "doesn't end"),
        (form(part(b"name=a"), end=b"--B--epilogue"), TYPE, "doesn't end"),
        (form(*[part(b"name=a")] * 65), TYPE, "more than 64"),
        (form(b"no header"), TYPE, "no header"),
        (form(b"X: y\r\n\r\nz"), TYPE, "no content-disposition"),
        (form(part(b"filename=a")), TYPE, "no name"),
        (form(b"Content-Disposition: attachment; name=a\r\n\r\nx"), TYPE, "no name"),
        (form(part(b"name=a", b"\r\n--Boundary")), TYPE, "inside a part"),
    ],
)
def test_what_is_no_form_is_refused_in_words(body: bytes, kind: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_form(body, kind)


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    with suppress(ValueError):
        parse_form(b"--B\r\n" + body, TYPE)
