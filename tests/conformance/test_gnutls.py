"""gnutls-cli: it verifies us, says what was negotiated, resumes, and names the alert that refuses it."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.served import REQUEST, ran, served

DEADLINE_S = 120
TLS13, TLS12 = "NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"


@pytest.fixture(params=["system", "bundled"])
def engine(request):
    return request.param


@pytest.fixture(params=["ec", "rsa"])
def key(request):
    return request.param


def asking(tool, site, priority: str, *more: str) -> list[str]:
    trust = [
        "--x509cafile",
        str(site.trusted),
        "--verify-hostname",
        "localhost",
        "--sni-hostname",
        "localhost",
    ]
    where = ["--port", str(site.port), "--alpn", "http/1.1"]
    return [tool("gnutls-cli"), *trust, *where, "--priority", priority, *more, "127.0.0.1"]


@pytest.mark.parametrize("priority", [TLS13, TLS12], ids=["1.3", "1.2"])
async def test_it_verifies_us_and_negotiates_what_it_says(tmp_path, pki, tool, engine, key, priority):
    version = "TLS1.3-X.509" if priority == TLS13 else "TLS1.2-X.509"
    curve = "-SECP256R1" if priority == TLS13 else ""  # which TLS 1.3 says in the scheme
    signature = f"ECDSA{curve}-SHA256" if key == "ec" else "RSA-PSS-RSAE-SHA256"
    with trio.fail_after(DEADLINE_S):
        async with served(tmp_path, pki, engine, key) as site:
            # TLS 1.2: an EC key serves nobody who doesn't name its curve (RFC 8422 section 5.1)
            besides = ":+GROUP-SECP256R1" if priority == TLS12 and key == "ec" else ""
            for group in ("X25519", "SECP256R1") if besides else ("X25519", "SECP256R1", "SECP384R1"):
                asked = asking(tool, site, f"{priority}:-GROUP-ALL:+GROUP-{group}{besides}")
                code, said = await ran(asked, REQUEST)
                assert code == 0, said
                assert f"- Description: ({version})-(ECDHE-{group})-({signature})-(AES-128-GCM)" in said
                assert "- Status: The certificate is trusted." in said
                assert "- Application protocol: http/1.1" in said
                assert "HTTP/1.1 200" in said


@pytest.mark.parametrize("priority", [TLS13, TLS12], ids=["1.3", "1.2"])
async def test_it_resumes(tmp_path, pki, tool, engine, priority):
    with trio.fail_after(DEADLINE_S):
        async with served(tmp_path, pki, engine) as site:
            code, said = await ran(asking(tool, site, priority, "--resume", "--waitresumption"), REQUEST)
            assert code == 0, said
            assert "*** This is a resumed session" in said
            assert "HTTP/1.1 200" in said


async def test_it_names_the_alert_by_which_it_is_refused(tmp_path, pki, tool, engine):
    old, failed = "Received alert [70]: Error in protocol version", "Received alert [40]: Handshake failed"
    refused = {
        "LEGACY:-VERS-ALL:+VERS-TLS1.0": old,
        "LEGACY:-VERS-ALL:+VERS-TLS1.1": old,
        f"{TLS12}:-KX-ALL:+RSA": failed,
        f"{TLS12}:-KX-ALL:+DHE-RSA": failed,
        f"{TLS12}:-CIPHER-ALL:+AES-128-CBC:+AES-256-CBC": failed,
        f"{TLS12}:-CIPHER-ALL:+3DES-CBC": failed,
        f"{TLS12}:-GROUP-ALL:+GROUP-SECP521R1": failed,
        f"{TLS13}:-GROUP-ALL:+GROUP-FFDHE2048": failed,
    }
    with trio.fail_after(DEADLINE_S):
        async with served(tmp_path, pki, engine, "rsa") as site:
            for priority, alert in refused.items():
                code, said = await ran(asking(tool, site, priority), REQUEST)
                assert (code, alert in said) == (1, True), (priority, said)
