"""Destinations: no address is ever asked that isn't public or allowed, whatever stands around it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsproxy.fetching.destination import parse, plain, refusal

anywhere = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@given(anywhere, st.integers(1, 65535))
@example(ip_address("64:ff9b::a9fe:a9fe"), 80)
@example(ip_address("::ffff:10.0.0.1"), 80)
@example(ip_address("2002:7f00:1::1"), 80)
def test_an_address_that_python_does_not_call_global_is_refused(address, port):
    if refusal(address, port, ()) is None:
        meant = plain(address)
        assert port == 80
        if isinstance(meant, IPv6Address) and meant in ip_network("64:ff9b::/96"):
            meant = IPv4Address(int(meant) & 0xFFFF_FFFF)
        assert meant.is_global
        assert not meant.is_multicast
        assert not meant.is_loopback


@given(st.ip_addresses(v=4))
def test_an_address_inside_of_another_is_judged_by_the_inner_one(address):
    mapped = IPv6Address(f"::ffff:{address}")
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) | int(address))
    assert (refusal(mapped, 80, ()) is None) == (refusal(address, 80, ()) is None)
    assert (refusal(translated, 80, ()) is None) == (refusal(address, 80, ()) is None)


@given(anywhere, st.integers(1, 65535))
def test_an_allowed_network_allows_exactly_its_own(address, port):
    network = ip_network(f"{plain(address)}/{32 if plain(address).version == 4 else 128}")
    assert refusal(address, port, [network]) is None
    other = ip_address(int(plain(address)) ^ 1) if plain(address).version == 4 else None
    if other is not None and refusal(other, port, ()) is not None:
        assert refusal(other, port, [network]) is not None


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "93.184.216.34", "2606:4700::1", "2a00:1450:4001::5", "64:ff9b::101:101", "::ffff:8.8.8.8"],
)
def test_public_addresses_are_asked(text):
    assert refusal(ip_address(text), 80, ()) is None


@pytest.mark.parametrize(
    "text",
    [
        *("10.1.2.3", "172.31.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *(
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "fec0::1",
        ),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:a00:1::", "2001::1", "::7f00:1"),
        *("2001:db8::1", "4000::1", "fec0::1"),
    ],
)
def test_other_addresses_are_not(text):
    assert "not a public address" in str(refusal(ip_address(text), 80, ()))


@given(st.text(max_size=60) | st.from_regex(r"http://[!-~]{1,40}", fullmatch=True))
def test_whatever_a_url_is_it_is_read_or_refused_in_printable_words(text):
    try:
        place = parse(text)
    except ValueError as error:
        told = str(error)
        assert told.isprintable()
    else:
        assert place.target.startswith("/")
        assert 0 < place.port < 65536
        assert place.host
        assert not set("/@ \r\n") & set(place.authority)
        assert place.target.isascii()
        assert place.target.isprintable()
