"""Java's HttpClient: it verifies us, is answered over HTTP/1.1 where it would like 2, and resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.conformance.served import Served, ran, served

SOURCE = Path(__file__).with_name("Client.java")
DEADLINE_S = 240
EC = "TLS_ECDHE_ECDSA_WITH_"


class Java:
    """The client, compiled for this test."""

    def __init__(self, site: Served, java: str, classes: Path) -> None:
        self.site, self.java, self.classes = site, java, classes

    async def visits(self, *words: str, trusted: Path | None = None) -> list[str]:
        """Give the two lines that it prints."""
        where = [str(self.site.port), str(trusted or self.site.trusted)]
        options = ["-Djava.net.preferIPv4Stack=true", "-Xshare:auto", "-XX:TieredStopAtLevel=1"]
        code, said = await ran([self.java, *options, "-cp", self.classes, "Client", *where, *words])
        assert code == 0, said
        return said.splitlines()


async def compiled(site: Served, tool, folder: Path) -> Java:
    javac = tool("javac")
    code, said = await ran([javac, "-d", folder / "classes", SOURCE])
    assert code == 0, said
    return Java(site, str(Path(javac).with_name("java")), folder / "classes")


def alerts(lines: list[str]) -> list[str]:
    """Give the alerts that were received; newer patch releases name them twice."""
    return [line.partition("Received fatal alert: ")[2] for line in lines]


@pytest.mark.parametrize("engine", ["system", "bundled"])
async def test_it_verifies_us_is_answered_and_resumes_and_hears_why_not(tmp_path, pki, tool, engine):
    with trio.fail_after(DEADLINE_S):
        async with served(tmp_path, pki, engine) as site:
            java = await compiled(site, tool, tmp_path)
            for version, suite in [
                ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
                ("TLSv1.2", f"{EC}AES_128_GCM_SHA256"),
            ]:
                assert await java.visits(version) == [f"200 HTTP_1_1 {version} {suite}"] * 2
                counted = await site.handshakes()
                resumed = [key[3] for key in counted if key[0] == version]
                assert sorted(resumed) == ["false", "true"]
                assert engine == "system" or {key[1] for key in counted} == {"X25519"}
            for version in ("TLSv1", "TLSv1.1"):
                assert alerts(await java.visits(version)) == ["protocol_version"] * 2
            for suite in (f"{EC}AES_128_CBC_SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256"):
                assert alerts(await java.visits("TLSv1.2", suite)) == ["handshake_failure"] * 2
            stranger = tmp_path / "stranger.pem"
            stranger.write_bytes(pki.leaf(issuer=None).cert_pem)
            (line, _) = await java.visits("TLSv1.3", trusted=stranger)
            assert "unable to find valid certification path" in line
