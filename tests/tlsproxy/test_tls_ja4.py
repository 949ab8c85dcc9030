"""JA4 against the vectors of its description, hellos of real libraries, and whatever else comes."""

from __future__ import annotations

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsproxy.tls.ja4 import FORM, ja4_of

# The example of JA4's description (technical_details/JA4.md): a Chromium of 2023, GREASE and all.
SUITES = "0a0a 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035"
KINDS = "1a1a 001b 0000 0033 0010 4469 0017 002d 000d 0005 0023 0012 002b ff01 000b 000a 0015"
ALGORITHMS = "0403 0804 0401 0503 0805 0501 0806 0601"


def vector(content: bytes, width: int) -> bytes:
    return len(content).to_bytes(width, "big") + content


def record(version: int, suites: bytes, extensions: dict[int, bytes]) -> bytes:
    block = b"".join(struct.pack(">HH", kind, len(data)) + data for kind, data in extensions.items())
    body = struct.pack(">H", version) + bytes(32) + b"\0" + vector(suites, 2) + b"\1\0" + vector(block, 2)
    message = b"\1" + vector(body, 3)
    return b"\x16\x03\x01" + vector(message, 2)


def extensions_of(*, alpn: bytes = b"h2") -> dict[int, bytes]:
    contents = {
        0x0000: vector(b"\0" + vector(b"device.test", 2), 2),
        0x0010: vector(vector(alpn, 1) + vector(b"http/1.1", 1), 2),
        0x000D: vector(bytes.fromhex(ALGORITHMS), 2),
        0x002B: vector(bytes.fromhex("3a3a03040303"), 1),
    }
    kinds = struct.unpack(">17H", bytes.fromhex(KINDS))
    return {kind: contents.get(kind, b"") for kind in kinds}


def test_the_example_of_its_description():
    hello = record(0x0303, bytes.fromhex(SUITES), extensions_of())
    assert ja4_of(hello) == "t13d1516h2_8daaf6152771_e5627efa2ab1"


@pytest.mark.parametrize(
    ("alpn", "ends"),
    [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"h", "hh"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ],
)
def test_the_ends_of_the_first_protocol(alpn, ends):
    found = ja4_of(record(0x0303, bytes.fromhex(SUITES), extensions_of(alpn=alpn)))
    assert found == f"t13d1516{ends}_8daaf6152771_e5627efa2ab1"


def test_a_hello_of_former_times_has_one_too():
    assert ja4_of(record(0x0301, bytes.fromhex("002f000a"), {})) == "t10i020000_b2ad0625f3cb_000000000000"
    assert ja4_of(record(0x0300, bytes.fromhex("0a0a"), {})) == "ts3i000000_000000000000_000000000000"


def test_the_order_of_suites_and_extensions_and_grease_change_nothing():
    turned = dict(reversed(extensions_of().items()))
    suites = b"".join(reversed([bytes.fromhex(one) for one in SUITES.split()[1:]]))
    assert ja4_of(record(0x0303, suites, turned)) == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_openssl_has_the_same_for_every_connection_and_another_without_a_name():
    def hello(name: str | None) -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        out = ssl.MemoryBIO()
        tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        return out.read()

    first, second, nameless = (ja4_of(hello(name)) for name in ("a.test", "other.test", None))
    assert first == second != nameless
    assert first is not None
    assert first.startswith("t13d")
    assert nameless is not None
    assert nameless.startswith("t13i")


@given(st.binary(max_size=300))
def test_whatever_comes_it_has_its_form_or_is_none(data):
    for one in (data, record(0x0303, data[: len(data) // 2 * 2], {0x0010: data, 0x000D: data, 0x002B: data})):
        found = ja4_of(one)
        assert found is None or FORM.fullmatch(found)
