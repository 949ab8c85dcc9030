"""Name servers and their keys, as tools write them and as the disk has them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.issuers.acme.nameserver import ALGORITHMS, NameServer, TsigKey

SECRET = base64.b64encode(bytes(range(32))).decode()
BIND = f"""key "device.example" {{
	algorithm hmac-sha512;
	secret "{SECRET}";
}};
"""
KNOT = f"""# hmac-sha256:device.:{SECRET}
key:
  - id: device.
    algorithm: hmac-sha256
    secret: {SECRET}
"""


@pytest.mark.parametrize(
    ("text", "name", "algorithm"),
    [
        (BIND, "device.example", "hmac-sha512"),
        (f"// comment\nkey device.example. {{ secret {SECRET}; }};", "device.example.", "hmac-sha256"),
        (f'key "a" {{ algorithm HMAC-SHA384.; secret {SECRET}; }};', "a", "hmac-sha384"),
        (KNOT, "device.", "hmac-sha256"),
    ],
)
def test_keys_are_read_as_tools_write_them(text, name, algorithm):
    key = TsigKey.read(text)
    assert (key.name, key.algorithm, key.secret) == (name, algorithm, bytes(range(32)))
    assert SECRET not in repr(key)
    assert repr(key.secret) not in repr(NameServer("ns.test", key))


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        'key "a" { algorithm hmac-sha256; };',
        'key "a" { algorithm hmac-md5; secret "' + SECRET + '"; };',
        'key "a" { secret "c2hvcnQ="; };',
        'key "a" { secret "not base64!"; };',
        "key" * 1_000,
        "key a {" * 200,
    ],
)
def test_what_is_no_good_key_is_refused(text):
    with pytest.raises(ValueError):
        TsigKey.read(text)


@given(
    st.sampled_from(["192.0.2.1", "2001:db8::1", "NS1.Example", "ns.test"]),
    st.sampled_from(ALGORITHMS),
    st.binary(min_size=16, max_size=64),
    st.integers(1, 65_535),
    st.sampled_from(["", "example", "Zone.Example."]),
    st.integers(0, 3_600),
)
def test_a_name_server_comes_back_from_the_disk(address, algorithm, secret, port, zone, wait_s):
    made = NameServer(address, TsigKey("device.", algorithm, secret), port, zone, wait_s)
    assert NameServer.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    "other", [{"port": 0}, {"wait_s": -1}, {"wait_s": 4_000}, {"zone": "a b"}, {"address": ""}]
)
def test_what_can_be_no_name_server_is_refused(other):
    key = TsigKey("device.", "hmac-sha256", bytes(32))
    with pytest.raises(ValueError):
        NameServer(**{"address": "ns.test", "key": key, **other})
