"""Real clients against the demo: one demo for each module."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.demo_process import Demo, running_demo


@dataclass(frozen=True, slots=True)
class Site:
    """The demo, and the certificate that it began with as a file to trust."""

    demo: Demo
    trusted: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.demo.port}"

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.trusted.read_text())).hexdigest()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with running_demo(folder / "demo") as demo:
        trusted = folder / "trusted.pem"
        trusted.write_text(demo.certificate_pem())
        yield Site(demo, trusted)
