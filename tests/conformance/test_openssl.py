"""openssl s_client against the demo: what is offered, refused, and remembered."""

from __future__ import annotations

import re
import subprocess

import pytest

DEADLINE_S = 30


@pytest.fixture
def s_client(tool, site):
    """Run `openssl s_client`, and give its exit code and all that it says."""

    def run(*options: str, said: bytes = b"Q\n") -> tuple[int, str]:
        command = [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{site.demo.port}", *options]
        if "-noservername" not in options:
            command += ["-servername", "localhost"]
        done = subprocess.run(
            command,
            input=said,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_S,
            check=False,
        )
        return done.returncode, done.stdout.decode("utf-8", "replace")

    return run


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
@pytest.mark.parametrize("name", [(), ("-noservername",)])
def test_the_certificate_is_verified_strictly(s_client, site, option, version, name):
    trust = ("-CAfile", str(site.trusted), "-partial_chain", "-x509_strict", "-verify_return_error")
    code, said = s_client(option, *trust, "-verify_hostname", "localhost", *name)
    assert code == 0, said
    assert "Verify return code: 0 (ok)" in said
    assert version in said


def test_http_1_1_is_the_protocol_chosen(s_client):
    assert "ALPN protocol: http/1.1" in s_client("-alpn", "h2,http/1.1")[1]


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(s_client, version):
    code, said = s_client(version, "-cipher", "DEFAULT@SECLEVEL=0")
    assert code != 0
    assert "Cipher is (NONE)" in said


@pytest.mark.parametrize(
    "cipher",
    [
        pytest.param("ECDHE-ECDSA-AES128-SHA256", id="cbc"),
        pytest.param("ECDHE-ECDSA-AES256-SHA", id="cbc-sha1"),
        pytest.param("AES128-GCM-SHA256", id="static-rsa"),
        pytest.param("DHE-RSA-AES128-GCM-SHA256", id="dhe"),
        pytest.param("ECDHE-ECDSA-AES128-CCM8", id="ccm8"),
    ],
)
def test_weak_ciphers_are_refused(s_client, cipher):
    code, said = s_client("-tls1_2", "-cipher", f"{cipher}@SECLEVEL=0")
    assert code != 0
    assert "Cipher is (NONE)" in said


def test_there_is_no_renegotiation_and_no_compression(s_client):
    _, said = s_client("-tls1_2", "-legacy_renegotiation", said=b"R\n")
    assert "Compression: NONE" in said
    assert "Secure Renegotiation IS supported" in said  # RFC 5746: it is told, so that nobody can be tricked
    assert re.search(r"no renegotiation|RENEGOTIATING[\s\S]*error", said), said


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_is_resumed_until_the_certificate_is_replaced(s_client, site, tmp_path, version):
    session = str(tmp_path / "session")
    request = b"GET /api/connection HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    # -ign_eof: wait for the answer, and with it for the ticket
    first = s_client(version, "-ign_eof", "-sess_out", session, said=request)[1]
    assert "200" in first
    assert "New, TLS" in first
    assert "Reused, TLS" in s_client(version, "-ign_eof", "-sess_in", session, said=request)[1]
    site.demo.certificate()
    after = s_client(version, "-ign_eof", "-sess_in", session, said=request)[1]
    assert "New, TLS" in after
    assert "Demo certificate" in after
