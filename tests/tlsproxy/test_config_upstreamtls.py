"""The table `tls` of a route: what is read, and what is refused with the way it is meant."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tlsproxy.config.reading import read
from tlsproxy.config.upstreamtls import parse_pin
from tlsproxy.config.values import UpstreamTLSConfig

TOP = 'store = "s"\n[[listener]]\naddress = "127.0.0.1:8443"\n'
DIGEST = hashlib.sha256(b"a key").digest()
PIN = f"sha256/{base64.b64encode(DIGEST).decode()}"


def reading(table: str, upstream: str = "https://127.0.0.1:9443"):
    return read(f'{TOP}[[route]]\nupstream = "{upstream}"\n{table}', Path("/etc/x"))


def whys(table: str, upstream: str = "https://127.0.0.1:9443") -> list[str]:
    return [f"{mistake.key}: {mistake.why}" for mistake in reading(table, upstream).mistakes]


def test_an_https_upstream_is_verified_by_the_systems_authorities_unless_told_otherwise():
    config = reading("").config
    assert config is not None
    assert config.routes[0].tls == UpstreamTLSConfig()


def test_everything_that_can_be_said_is_read():
    config = reading(
        f'tls = {{ server_name = "API.Internal", ca_file = "ca.pem", pins = ["{PIN}"],'
        ' client_certificate = "c.pem", client_key = "/k/c.key" }'
    ).config
    assert config is not None
    assert config.routes[0].tls == UpstreamTLSConfig(
        server_name="api.internal",
        ca_file=Path("/etc/x/ca.pem"),
        pins=(DIGEST.hex(),),
        client_certificate=Path("/etc/x/c.pem"),
        client_key=Path("/k/c.key"),
    )


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('tls = { verify = "pin" }', "route[0].tls.verify: there is no pin to verify by"),
        (
            f'tls = {{ verify = "pin", pins = ["{PIN}"], ca_file = "ca.pem" }}',
            'route[0].tls.ca_file: verify = "pin" asks no authority',
        ),
        ('tls = { client_key = "k.pem" }', "route[0].tls.client_key: stands without its certificate"),
        (
            'tls = { unsafe_no_verify = true, ca_file = "ca.pem" }',
            "route[0].tls.unsafe_no_verify: nothing is verified, although there is what",
        ),
        ("tls = { no_verify = true }", "route[0].tls.no_verify: unknown key"),
        ('tls = { server_name = "*.internal" }', "route[0].tls.server_name: "),
        ('tls = { pins = ["sha256/AAAA"] }', "route[0].tls.pins: "),
    ],
)
def test_what_cannot_be_meant_is_refused(table, why):
    (found,) = whys(table)
    assert found.startswith(why)


def test_a_table_for_an_upstream_without_tls_is_refused():
    assert whys("tls = {}", "http://127.0.0.1:3000") == ["route[0].tls: http://127.0.0.1:3000 speaks no TLS"]


def test_two_routes_cannot_believe_one_upstream_in_two_ways():
    other = f'[[route]]\npath = "/b"\nupstream = "https://127.0.0.1:9443"\ntls = {{ pins = ["{PIN}"] }}'
    assert whys(other) == ["route[1].tls: another route says other things of TLS to https://127.0.0.1:9443"]


def test_no_verification_is_advised_against():
    (advice,) = reading("tls = { unsafe_no_verify = true }").advice
    assert advice.key == "route[0].tls.unsafe_no_verify"


@pytest.mark.parametrize(
    "text", [PIN, PIN.replace("/", "//", 1), DIGEST.hex(), DIGEST.hex().upper(), DIGEST.hex(":")]
)
def test_a_pin_is_read_in_every_usual_form(text):
    assert parse_pin(text) == DIGEST.hex()


@pytest.mark.parametrize("text", ["", "sha256/", "sha1/" + PIN[7:], PIN[:-1], DIGEST.hex()[:-1], "sha256/é"])
def test_what_is_no_pin_is_refused(text):
    with pytest.raises(ValueError, match="no pin"):
        parse_pin(text)
