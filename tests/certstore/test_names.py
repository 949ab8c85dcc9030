"""A name has one form, and a certificate's name stands for what clients say it stands for."""

from __future__ import annotations

import pytest

from certstore.names import covers, is_address, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Device.Example.COM.", "device.example.com"),
        ("localhost", "localhost"),
        ("my_device.local", "my_device.local"),
        ("*.Example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),  # IDNA 2008, as browsers: 2003 would make fass of it
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("日本。example", "xn--wgv71a.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("\uff11\uff19\uff12.0.2.1", "192.0.2.1"),  # full-width digits
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
    ],
)
def test_a_name_has_one_form(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "a..b", ".a", "a..", " a", "a b", "a\n", "a\x00.b", "-a.test", "a-.test"),
        *("*", "*.", "*.*.test", "a.*.test", "f*.test", "*.192.0.2.1", "*a.test"),
        *("192.0.2", "192.0.2.256", "10.1", "a.1", "1", "0x7f.0x1", "192.0.2.1.", "192.0.2.1:443"),
        *("fe80::1%eth0", "[2001:db8::1]", "example.com:443", "https://example.com", "user@example.com"),
        *("a" * 64 + ".test", ".".join(["a" * 60] * 5), "ü" * 300, "\ud800.test", "xn--ü.test"),
    ],
)
def test_what_no_client_could_ask_for_is_no_name(text):
    with pytest.raises(ValueError):
        normalise(text)


def test_names_of_any_length_take_no_time():
    with pytest.raises(ValueError):
        normalise("\u0661" * 10_000_000)


def test_addresses_are_told_from_names():
    assert is_address("192.0.2.1")
    assert is_address("2001:db8::1")
    assert not is_address("device.test")
    assert not is_address("fe80::1%eth0")
    assert not is_address("*.2.3.4")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a.test", "a.test", True),
        ("a.test", "b.test", False),
        ("*.a.test", "b.a.test", True),
        ("*.a.test", "a.test", False),
        ("*.a.test", "c.b.a.test", False),
        ("*.a.test", ".a.test", False),
        ("*.a.test", "*.a.test", True),
        ("b.a.test", "*.a.test", False),
        ("*.local", "device.local", True),
        ("*.0.2.1", "192.0.2.1", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("f*.a.test", "foo.a.test", False),
        ("*.a.test", "xn--bcher-kva.a.test", True),
        ("*", "a", False),
    ],
)
def test_a_wildcard_is_one_whole_label_and_never_an_address(pattern, name, expected):
    assert covers(pattern, name) is expected
