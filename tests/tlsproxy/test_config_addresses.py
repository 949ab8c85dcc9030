"""Listen addresses and upstream URLs, as people write them."""

from __future__ import annotations

import pytest

from tlsproxy.config import UpstreamAddress, parse_listen, parse_upstream
from tlsproxy.config.addresses import overlap


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[::]:443", ("::", 443)),
        ("*:443", ("::", 443)),
        (":443", ("::", 443)),
        ("0.0.0.0:443", ("0.0.0.0", 443)),
        ("127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("[::1]:0", ("::1", 0)),
        ("[2001:DB8::0:1]:443", ("2001:db8::1", 443)),
        ("[fe80::1%eth0]:443", ("fe80::1%eth0", 443)),
        ("LocalHost:8443", ("localhost", 8443)),
        (" device.local:443 ", ("device.local", 443)),
    ],
)
def test_a_listen_address_is_a_host_and_a_port(text: str, place: tuple[str, int]) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("443", "write \\*:443"),
        ("", "no address and port"),
        ("localhost", "no address and port"),
        ("::1:443", "in brackets"),
        ("127.0.0.1:", "no port"),
        ("127.0.0.1:https", "a number"),
        ("127.0.0.1:65536", "to 65535"),
        ("127.0.0.1:-1", "a number"),
        ("127.0.0.1:٣", "a number"),
        ("127.0.0.1:99999999999999999999999", "to 65535"),
        ("256.0.0.1:443", "no IPv4 address"),
        ("[1.2.3.4]:443", "no IPv6 address"),
        ("https://x:443", "brackets"),
        ("bad host:443", "no host name"),
        ("-x:443", "no host name"),
        (f"{'x' * 64}.test:443", "no host name"),
    ],
)
def test_a_bad_listen_address_is_refused_with_the_way_it_is_meant(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("http://127.0.0.1:3000", UpstreamAddress("http", "127.0.0.1", 3000), "http://127.0.0.1:3000"),
        ("HTTP://LOCALHOST:3000/", UpstreamAddress("http", "localhost", 3000), "http://localhost:3000"),
        ("http://api", UpstreamAddress("http", "api", 80), "http://api:80"),
        ("https://api", UpstreamAddress("https", "api", 443), "https://api:443"),
        ("http://[::1]:3000", UpstreamAddress("http", "::1", 3000), "http://[::1]:3000"),
        ("http://[::1]", UpstreamAddress("http", "::1", 80), "http://[::1]:80"),
        ("http://my_container:80", UpstreamAddress("http", "my_container", 80), "http://my_container:80"),
        ("unix:/run/x.sock", UpstreamAddress("unix", path="/run/x.sock"), "unix:/run/x.sock"),
        ("unix:///run/x.sock", UpstreamAddress("unix", path="/run/x.sock"), "unix:/run/x.sock"),
    ],
)
def test_an_upstream_is_a_host_and_port_or_a_socket(text: str, address: UpstreamAddress, shown: str) -> None:
    assert parse_upstream(text) == address
    assert str(address) == shown
    assert parse_upstream(str(address)) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://", "has no host"),
        ("ws://127.0.0.1:3000", "WebSockets included"),
        ("127.0.0.1:3000", "as in http://"),
        ("localhost:3000", "as in http://"),
        ("http:127.0.0.1", "write http://host:port"),
        ("http://", "no host"),
        ("http://:80", "no host"),
        ("http://::1:80", "without brackets"),
        ("http://a:0", "from 1 to 65535"),
        ("http://a:b", "no host"),
        ("http://a/path", "no path"),
        ("http://a?x", "no path"),
        ("http://u:p@a", "no user and password"),
        ("unix:x.sock", "whole path"),
        ("unix:", "whole path"),
        ("unix:/", "whole path"),
        ("unix:@abstract", "whole path"),
        ("unix:/a\0b", "NUL"),
        ("unix:/" + "x" * 107, "takes 107"),
        ("", "no upstream"),
    ],
)
def test_a_bad_upstream_is_refused_with_the_way_it_is_meant(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_upstream(text)


def test_only_addresses_that_would_take_each_others_port_overlap() -> None:
    assert overlap(("::", 443), ("127.0.0.1", 443))
    assert overlap(("0.0.0.0", 443), ("10.0.0.1", 443))
    assert overlap(("::", 443), ("0.0.0.0", 443))
    assert not overlap(("0.0.0.0", 443), ("::1", 443))
    assert not overlap(("127.0.0.1", 443), ("127.0.0.2", 443))
    assert not overlap(("::", 443), ("::", 80))
    assert not overlap(("::1", 0), ("::1", 0))
