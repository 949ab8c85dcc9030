"""openssl s_client chooses its order of ciphers: ChaCha20 where it comes first there, else ours."""

from __future__ import annotations

import subprocess

import pytest
import trio

from tests.live.proxy_process import running, write_config

DEADLINE_S = 60
CHACHA, AES_128 = "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"
CHACHA_13, AES_128_13 = "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"
AES_256_13 = "TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize("engine", ["system", "bundled"])
async def test_chacha_is_chosen_for_a_client_that_puts_it_first_and_for_no_other(tmp_path, tool, engine):
    config = write_config(tmp_path, {"/": "http://127.0.0.1:9"}, more=f'[tls]\nengine = "{engine}"')
    with trio.fail_after(DEADLINE_S):
        async with running(config) as proxy:

            async def chosen(version: str, option: str, *ciphers: str) -> str:
                asking = ["-connect", f"127.0.0.1:{proxy.port}", version, option, ":".join(ciphers)]
                done = await trio.run_process(
                    [tool("openssl"), "s_client", *asking],
                    stdin=b"Q\n",
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
                return done.stdout.decode().partition("Cipher is ")[2].split()[0]

            assert await chosen("-tls1_2", "-cipher", CHACHA, AES_128) == CHACHA
            assert await chosen("-tls1_2", "-cipher", AES_128, CHACHA) == AES_128
            assert await chosen("-tls1_3", "-ciphersuites", CHACHA_13, AES_128_13) == CHACHA_13
            assert await chosen("-tls1_3", "-ciphersuites", AES_128_13, CHACHA_13) == AES_128_13
            assert await chosen("-tls1_3", "-ciphersuites", AES_256_13, CHACHA_13, AES_128_13) == AES_128_13
