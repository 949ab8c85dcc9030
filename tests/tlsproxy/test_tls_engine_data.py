"""The contract of the engine port, part two, for both libraries: bytes both ways, and how it ends."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tlsproxy.tls_pair import client_context, connect, read_all
from tlsproxy import policy
from tlsproxy.policy_tls import TLSPolicy
from tlsproxy.tls.engines import TLSBroken, make_context
from tlsproxy.tls.engines.system import openssl_conf

ROOT = Path(__file__).parents[2]
VERSIONS = ("TLSv1_2", "TLSv1_3")
BIG = random.Random(7).randbytes(3_000_000)


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(params=["system", "bundled"])
def ends(request, pki, version):
    context = make_context(pki.leaf().bundle(), TLSPolicy(), request.param)
    client, server = connect(context, client_context(version=version))
    client.feed(server.take())
    assert client.read_all() == b""
    return client, server


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_large_body_comes_down_unaltered(ends, kind):
    client, server = ends
    got = []
    for at in range(0, len(BIG), policy.TLS_WRITE_BYTES):
        server.write(kind(BIG[at : at + policy.TLS_WRITE_BYTES]))
        client.feed(server.take())
        got.append(client.read_all())
    assert b"".join(got) == BIG
    assert server.take() == b""


def test_a_large_body_goes_up_unaltered_however_it_is_cut(ends):
    client, server = ends
    client.write(BIG[:1_000_000])
    cipher, got = client.take(), []
    cuts = random.Random(8)
    at = 0
    while at < len(cipher):
        size = cuts.choice((1, 5, 100, 16_384, 70_000))
        server.feed(cipher[at : at + size])
        got.append(read_all(server, cuts.choice((1000, 16_384, 65_536))))
        at += size
    assert b"".join(got) == BIG[:1_000_000]


def test_several_records_are_read_at_once_up_to_the_size(ends):
    client, server = ends
    client.write(BIG[:50_000])
    server.feed(client.take())
    assert server.read(65_536) == BIG[:50_000]
    client.write(BIG[:50_000])
    server.feed(client.take())
    assert server.read(20_000) == BIG[:20_000]
    assert server.read(1) == BIG[20_000:20_001]
    assert read_all(server) == BIG[20_001:50_000]


def test_reading_with_nothing_there_asks_for_more(ends):
    _, server = ends
    assert server.read(100) is None
    assert server.read(100) is None
    assert server.take() == b""


def test_writing_nothing_sends_nothing(ends):
    _, server = ends
    server.write(b"")
    server.feed(b"")
    assert server.take() == b""


def test_the_clients_close_notify_is_an_end_after_its_last_bytes(ends):
    client, server = ends
    client.write(b"last")
    client.shut()
    server.feed(client.take())
    assert server.read(100) == b"last"
    assert server.read(100) == server.read(100) == b""


def test_we_may_go_on_writing_after_the_clients_close_notify(ends):
    """TLS 1.3 closes each direction by itself; OpenSSL allows that in 1.2 as well."""
    client, server = ends
    client.shut()
    server.feed(client.take())
    assert server.read(100) == b""
    server.write(b"still here")
    assert server.take()


def test_our_close_notify_ends_our_side_for_the_client(ends):
    client, server = ends
    server.write(b"last")
    server.shut()
    server.shut()
    client.feed(server.take())
    assert client.read_all() == b"last"
    assert client.is_ended()
    with pytest.raises(TLSBroken):
        server.write(b"more")


def test_reading_goes_on_after_our_close_notify(ends):
    client, server = ends
    server.shut()
    server.take()
    client.write(b"after your end")
    server.feed(client.take())
    assert server.read(100) == b"after your end"
    assert server.read(100) is None


def test_bytes_that_wait_when_we_close_our_side_are_not_lost(ends):
    """Python's unwrap reads after its close_notify; with data there it raises and drops them."""
    client, server = ends
    client.write(BIG[:40_000])
    first = client.take()
    client.write(b"later")
    second = client.take()
    server.feed(first)
    assert server.read(10) == BIG[:10]
    server.shut()
    assert server.read(20_000) == BIG[10:20_010]
    server.feed(second[:7])  # and a record that is not yet whole
    assert read_all(server) == BIG[20_010:40_000]
    server.feed(second[7:])
    assert server.read(100) == b"later"
    client.shut()
    server.feed(client.take())
    assert server.read(100) == b""


def test_closing_with_half_a_record_waiting_loses_nothing(ends):
    client, server = ends
    client.write(b"whole only later")
    cipher = client.take()
    server.feed(cipher[:9])
    server.shut()
    assert server.read(100) is None
    server.feed(cipher[9:])
    assert server.read(100) == b"whole only later"


def test_garbage_breaks_the_connection_after_the_good_bytes_before_it(ends):
    client, server = ends
    client.write(b"good")
    server.feed(client.take() + b"\x17\x03\x03\x00\x30" + os.urandom(48))
    assert server.read(100) == b"good"
    for _ in range(2):
        with pytest.raises(TLSBroken):
            server.read(100)
    assert server.take(), "the client is told by an alert"


def test_a_connection_that_broke_can_be_shut_without_an_error(ends):
    _, server = ends
    server.feed(b"not a record at all")
    with pytest.raises(TLSBroken):
        server.read(100)
    server.shut()


@pytest.mark.parametrize("engine", ["system", "bundled"])
def test_a_connection_that_never_began_can_be_shut_without_an_error(engine, pki):
    make_context(pki.leaf().bundle(), TLSPolicy(), engine).accept().shut()


def test_the_configuration_for_a_fresh_process_limits_its_groups_and_suites(tmp_path):
    """What `ssl` can't be told before Python 3.15, OpenSSL is told by a file; a client's hello shows both."""
    conf = tmp_path / "openssl.cnf"
    conf.write_text(openssl_conf(TLSPolicy()))
    script = (
        "from tests.tlsproxy.tls_pair import Client, client_context\n"
        "from tlsproxy.tls.clienthello import parse\n"
        "client = Client(client_context(version='TLSv1_3'))\n"
        "client.handshake()\n"
        "hello = parse(client.take())\n"
        "print([s for s in hello.cipher_suites if s != 0xff], list(hello.groups))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OPENSSL_CONF": str(conf), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    suites, groups = done.stdout.strip().split("] [")
    assert suites == f"[{0x1301}, {0x1302}, {0x1303}"
    assert groups.removeprefix("4588, ") == f"{0x1D}, {0x17}, {0x18}]"  # X25519, P-256, P-384
