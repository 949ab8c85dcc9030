"""What a hello says about usable certificates, held against what OpenSSL makes of the same client."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pki import Pki
from tlsproxy.observe.counters import Counters
from tlsproxy.tls.clienthello import ClientHello, parse
from tlsproxy.tls.offers import EXCHANGES, OFFERED_VERSIONS, USABLE_KEYS, offer_of

numbers = st.lists(st.integers(0, 0xFFFF) | st.sampled_from((0x0403, 0x0804, 0x0401, 0xC02B, 0xC02F)))


@given(st.lists(st.sampled_from((0x0302, 0x0303, 0x0304, 0x0A0A))), numbers, numbers)
def test_every_hello_is_counted_in_a_bounded_number_of_words(versions, algorithms, suites):
    hello = ClientHello(None, (), tuple(versions), tuple(algorithms), (), tuple(suites))
    version, keys, exchange = offer_of(hello)
    assert exchange in EXCHANGES
    assert version in OFFERED_VERSIONS
    assert keys in USABLE_KEYS


def client(ciphers: str, newest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = newest
    context.set_ciphers(ciphers)
    return context


def served(asking: ssl.SSLContext, answering: ssl.SSLContext) -> tuple[bytes, bool]:
    """Give the client's hello, and whether the server could answer it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = asking.wrap_bio(to_client, to_server, server_hostname="device.test")
    with pytest.raises(ssl.SSLWantReadError):
        theirs.do_handshake()
    hello = to_server.read()
    incoming = ssl.MemoryBIO()
    incoming.write(hello)
    ours = answering.wrap_bio(incoming, to_client, server_side=True)
    try:
        ours.do_handshake()
    except ssl.SSLWantReadError:
        return hello, True
    except ssl.SSLError:
        return hello, False
    return hello, True


@pytest.mark.parametrize(
    ("ciphers", "newest", "expected"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_2, ("TLSv1.2", "rsa")),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_2, ("TLSv1.2", "ec")),
        ("ECDHE+AESGCM", ssl.TLSVersion.TLSv1_2, ("TLSv1.2", "both")),
        ("ECDHE-RSA-AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_3, ("TLSv1.3", "both")),
    ],
)
def test_who_is_told_to_need_rsa_gets_no_answer_with_an_ec_certificate(
    ciphers, newest, expected, pki: Pki, tmp_path
):
    file = tmp_path / "ec.pem"
    issued = pki.leaf(("device.test",))
    file.write_bytes(issued.key_pem + issued.chain_pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    data, answered = served(client(ciphers, newest), server)
    hello = parse(data)
    assert hello is not None
    assert offer_of(hello) == (*expected, "classical")
    assert answered == (expected[1] in {"ec", "both"})
    counters = Counters((), (), lambda _record: None)
    counters.hello_heard(hello)
    assert (("tlsproxy_hellos_total", *expected, "classical"), 1.0) in counters.counted(())
