"""Python's own ssl and urllib against the demo, as scripts at a customer's site use them."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import urllib.error
import urllib.request

import pytest

DEADLINE_S = 30


def verifying(site) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=site.trusted)


def ask(site, url: str, data: bytes | None = None) -> dict[str, object]:
    handler = urllib.request.HTTPSHandler(context=verifying(site))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), handler)
    with opener.open(url, data, timeout=DEADLINE_S) as answer:
        told: dict[str, object] = json.load(answer)
        return told


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_urllib_verifies_the_device_by_name_and_by_address(site, host):
    told = ask(site, f"https://{host}:{site.demo.port}/api/connection")
    assert told == {"fingerprint": site.fingerprint, "generation": 1}


def test_urllib_refuses_the_device_where_it_is_not_trusted(site):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        opener.open(f"{site.url}/api/device", timeout=DEADLINE_S)


def test_urllib_uploads(site):
    body = bytes(range(256)) * 4096
    told = ask(site, f"{site.url}/api/upload", body)
    assert told == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_connection_is_made_and_closed_in_order(site, version):
    context = verifying(site)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", site.demo.port), timeout=DEADLINE_S) as sock,
        context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as tls,
    ):
        assert tls.selected_alpn_protocol() == "http/1.1"
        assert tls.compression() is None
        tls.sendall(b"GET /api/connection HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := tls.recv(65536):  # ragged: an end without close_notify would raise
            answer += data
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_name_that_is_not_the_device_s_is_not_accepted(site):
    context = verifying(site)
    with (
        socket.create_connection(("127.0.0.1", site.demo.port), timeout=DEADLINE_S) as sock,
        pytest.raises(ssl.SSLCertVerificationError, match=r"[Hh]ostname mismatch"),
    ):
        context.wrap_socket(sock, server_hostname="example.com")
