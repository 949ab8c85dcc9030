"""Other Pythons than ours, as scripts at a customer's site run on them, with their own ssl as it is.

From 3.13 on `ssl.create_default_context` verifies strictly (RFC 5280), the device's own certificate too.
Debian has one Python; others are found on the path, and where pyenv keeps them. Those that this machine
doesn't have are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conformance.served import Served, ran, served

PROGRAM = Path(__file__).with_name("python_client.py")
DEADLINE_S = 120


def find_python(release: str) -> str:
    """Give an interpreter's path; skip the test where there is none, in CI too: no package brings it."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    kept = sorted(root.glob(f"versions/{release}.*/bin/python{release}"))
    path = str(kept[-1]) if kept else shutil.which(f"python{release}")
    if path is None:
        pytest.skip(f"there is no Python {release} here")
    return path


@pytest.fixture(params=["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def python(request):
    return find_python(request.param), request.param


def own_certificate(site: Served) -> str:
    """Fetch the certificate that the device made for itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", site.port), DEADLINE_S) as sock,
        context.wrap_socket(sock, server_hostname="device.test") as tls,
    ):
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")


async def told(python: tuple[str, str], site: Served, trusted: Path, name: str, version: str) -> Any:
    code, said = await ran([python[0], PROGRAM, str(site.port), trusted, name, version])
    assert code == 0, said
    facts = json.loads(said)
    assert facts["python"].startswith(python[1])
    for visit, resumed in zip(facts["visits"], (False, True), strict=True):
        assert visit.pop("cipher").endswith(("_AES_128_GCM_SHA256", "-AES128-GCM-SHA256"))
        assert visit == {
            "version": version.replace("_", "."),
            "alpn": "http/1.1",
            "resumed": resumed,
            "answer": "HTTP/1.1 200",
        }
    return facts


@pytest.mark.parametrize("engine", ["system", "bundled"])
async def test_it_verifies_us_as_it_is_by_default_and_resumes(tmp_path, pki, python, engine):
    with trio.fail_after(DEADLINE_S):
        async with served(tmp_path, pki, engine) as site:
            for version in ("TLSv1_3", "TLSv1_2"):
                facts = await told(python, site, site.trusted, "localhost", version)
                assert facts["fields"]["host"] == f"localhost:{site.port}"
            own = tmp_path / "own.pem"
            own.write_text(own_certificate(site))
            await told(python, site, own, "device.test", "TLSv1_3")
            code, said = await ran([python[0], PROGRAM, str(site.port), own, "localhost", "TLSv1_3"])
            assert (code, "CERTIFICATE_VERIFY_FAILED" in said) == (1, True)
