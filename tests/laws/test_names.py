"""Laws of names: one form for each, found in one step; a wildcard adds exactly one label."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from certstore.names import covers, is_address, normalise

labels = st.from_regex(r"\A[a-z_]([a-z0-9_-]{0,8}[a-z0-9_])?\Z")
hosts = st.lists(labels, min_size=1, max_size=5).map(".".join)


def has_one_form(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Not an IPv4 address in IPv6 clothes, whose one form is the IPv4 address."""
    return not (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped)


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(has_one_form).map(str)


@given(st.one_of(st.text(max_size=80), hosts, addresses))
def test_a_normal_form_is_its_own_normal_form_or_there_is_none(text):
    try:
        once = normalise(text)
    except ValueError:
        return
    assert normalise(once) == once
    assert once.isascii()
    assert once == once.lower()


@given(hosts)
def test_case_and_a_last_dot_make_no_difference(name):
    assert normalise(name.upper() + ".") == normalise(name) == name


@given(addresses)
def test_each_spelling_of_an_address_has_one_form(address):
    parsed = ipaddress.ip_address(address)
    assert normalise(parsed.exploded.upper()) == address
    assert is_address(address)


@given(hosts)
def test_a_host_is_no_address(name):
    assert not is_address(normalise(name))


@given(labels, hosts)
def test_a_wildcard_covers_one_more_label_and_no_two(label, host):
    assert covers(f"*.{host}", f"{label}.{host}")
    assert not covers(f"*.{host}", f"{label}.{label}.{host}")
    assert not covers(f"*.{host}", host)


@given(hosts, hosts)
def test_a_plain_name_covers_itself_only(one, other):
    assert covers(one, other) == (one == other)


@given(hosts, addresses)
def test_no_wildcard_covers_an_address(host, address):
    assert not covers(f"*.{host}", address)
    assert not covers("*." + address.partition(".")[2], address)
