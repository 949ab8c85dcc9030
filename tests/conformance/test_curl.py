"""curl against the demo: what it says about us, option by option."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess

import pytest

DEADLINE_S = 60
UPLOAD = bytes(range(256)) * 40_000  # 10 MB


@pytest.fixture
def curl(tool, site):
    """Run curl, trusting the device's own certificate; give what came; fail unless it ends with `code`."""

    def run(*options: str, code: int = 0, stdin: bytes = b"") -> bytes:
        command = [tool("curl"), "--silent", "--show-error", "--cacert", str(site.trusted), *options]
        environment = {"PATH": os.environ["PATH"]}  # no proxy variables
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=DEADLINE_S, check=False, env=environment
        )
        assert done.returncode == code, (done.returncode, done.stderr.decode())
        return done.stdout

    return run


def test_it_warns_about_the_device_until_its_certificate_is_trusted(curl, site):
    curl("--cacert", "/dev/null", site.url, code=77)  # nothing to trust in it
    curl("--capath", "/nonexistent", "--cacert", "/etc/ssl/certs/ca-certificates.crt", site.url, code=60)
    for host in ("localhost", "127.0.0.1"):
        facts = json.loads(curl(f"https://{host}:{site.demo.port}/api/device"))
        assert facts["connection"]["fingerprint"] == site.fingerprint


def test_it_negotiates_http_1_1_where_it_would_like_2(curl, site):
    assert curl("--http2", "-o", os.devnull, "-w", "%{http_version}", f"{site.url}/api/device") == b"1.1"


@pytest.mark.parametrize("limit", [("--tls-max", "1.2"), ("--tlsv1.3",)])
def test_both_versions_are_spoken(curl, site, limit):
    assert json.loads(curl(*limit, f"{site.url}/api/connection"))["generation"] == 1


def test_nothing_older_is_spoken(curl, site):
    # SECLEVEL=0 lets OpenSSL try; 35 is curl's "handshake failed".
    curl("--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0", site.url, code=35)


def test_one_connection_serves_many_requests(curl, site):
    urls = [f"{site.url}/api/connection"] * 5
    outputs = [word for url in urls for word in ("-o", os.devnull, url)]
    assert curl("-w", "%{num_connects} ", *outputs).split() == [b"1", b"0", b"0", b"0", b"0"]


def test_fifty_megabytes_arrive_whole(curl, site):
    digest = json.loads(curl(f"{site.url}/api/device"))["download"]["sha256"]
    assert hashlib.sha256(curl(f"{site.url}/api/download")).hexdigest() == digest


@pytest.mark.parametrize(
    "how",
    [
        pytest.param((), id="content-length"),
        pytest.param(("-H", "Transfer-Encoding: chunked"), id="chunked"),
        pytest.param(("-H", "Expect: 100-continue"), id="100-continue"),
        pytest.param(("-H", "Expect:"), id="no-expect"),
    ],
)
def test_uploads_arrive_whole(curl, site, how):
    told = json.loads(curl("--data-binary", "@-", *how, f"{site.url}/api/upload", stdin=UPLOAD))
    assert told == {"size": len(UPLOAD), "sha256": hashlib.sha256(UPLOAD).hexdigest()}


def test_a_head_request_tells_the_length_and_sends_nothing(curl, site):
    head = curl("--head", f"{site.url}/api/download").decode().lower()
    assert "content-length: 50000000" in head


def test_http_1_0_is_answered(curl, site):
    assert json.loads(curl("--http1.0", f"{site.url}/api/connection"))["generation"] == 1
    assert json.loads(curl("--http1.0", "--no-alpn", f"{site.url}/api/connection"))["generation"] == 1


def test_events_come_as_they_happen(curl, site):
    # 28 is curl's "time is up": the stream never ends by itself.
    told = curl("--no-buffer", "--max-time", "2.5", f"{site.url}/api/events", code=28).decode()
    assert told.startswith("id: 0\nevent: tick\n")
    assert "id: 2\n" in told


def test_plain_http_on_the_tls_port_is_sent_to_https(curl, site):
    place = f"localhost:{site.demo.port}/api/connection?x=1"
    asked = curl("-o", os.devnull, "-w", "%{http_code} %{redirect_url}", f"http://{place}").decode()
    code, url = asked.split()
    assert code in {"301", "307", "308"}
    assert url == f"https://{place}"
    assert json.loads(curl("--location", f"http://{place}"))["fingerprint"] == site.fingerprint


def test_what_a_client_says_of_the_bundle_is_not_believed(curl, site):
    lies = ("-H", "Tlsproxy-Bundle: " + "00" * 32, "-H", "Tlsproxy-Generation: 99")
    told = json.loads(curl(*lies, f"{site.url}/api/connection"))
    assert told == {"fingerprint": site.fingerprint, "generation": 1}
