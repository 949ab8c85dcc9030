"""openssl s_client, with the signature algorithms of one kind of client each: who gets EC, and who RSA."""

from __future__ import annotations

import pytest
import trio

from tests.conformance.test_scanners import said, served

RSA = "rsa_pss_rsae_sha256:rsa_pkcs1_sha256"
ASKED = [
    (("-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"), "ECDSA"),
    (("-tls1_3", "-sigalgs", RSA), "RSA-PSS"),
    (("-tls1_3", "-sigalgs", f"{RSA}:ecdsa_secp256r1_sha256"), "ECDSA"),
    (("-tls1_3", "-sigalgs", f"{RSA}:ecdsa_secp384r1_sha384"), "RSA-PSS"),
    (("-tls1_3",), "ECDSA"),
    (("-tls1_2", "-sigalgs", "ECDSA+SHA384"), "ECDSA"),
    (("-tls1_2", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"), "RSA-PSS"),
    (("-tls1_2", "-sigalgs", "RSA+SHA256:ECDSA+SHA256"), "ECDSA"),
    (("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), "RSA-PSS"),
    (("-tls1_2",), "ECDSA"),
]


@pytest.mark.parametrize("engine", ["system", "bundled"])
async def test_each_client_is_served_what_it_can_verify(tmp_path, pki, tool, engine):
    with trio.fail_after(120):
        async with served(tmp_path, pki, engine, "intermediate", "both") as port:
            words = [tool("openssl"), "s_client", "-connect", f"localhost:{port}", "-servername", "localhost"]
            words += ["-CAfile", "root.pem", "-verify_return_error", "-brief"]
            for asked, kind in ASKED:
                code, text = await said(*words, *asked, folder=tmp_path)
                assert code == 0, (asked, text)
                (signed,) = [line for line in text.splitlines() if line.startswith("Signature type")]
                assert kind.lower() in signed.lower(), (asked, text)
