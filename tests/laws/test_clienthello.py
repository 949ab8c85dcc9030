"""Laws of reading a hello: it fails in known ways only, and reads the name that OpenSSL would."""

from __future__ import annotations

import contextlib
import ssl
import string
from itertools import pairwise
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from tlsproxy import policy
from tlsproxy.tls.clienthello import BadHello, ClientHello, NotTLS, parse


def vector(path: Path) -> bytes:
    lines = path.read_text("ascii").splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


HELLOS = sorted(
    vector(path)
    for path in (Path(__file__).parents[1] / "vectors" / "hello").glob("*.txt")
    if path.read_text("ascii").startswith("# outcome: hello")
)
MESSAGES = [data[5:] for data in HELLOS if len(data) == 5 + int.from_bytes(data[3:5], "big")]

LETTERS = set(string.ascii_letters + string.digits + "-_")
hosts = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=20),
    min_size=1,
    max_size=5,
).map(".".join)


def record(part: bytes) -> bytes:
    return b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part


def read(data: bytes) -> ClientHello | None:
    try:
        return parse(data)
    except (NotTLS, BadHello):
        return None


@given(st.binary(max_size=600))
@example(b"")
@example(b"\x16")
@example(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
def test_no_bytes_make_it_fail_in_an_unknown_way(data):
    read(data)
    read(record(data[:16_384] or b"\x01"))
    body = b"\x01" + len(data).to_bytes(3, "big") + data
    read(record(body))


@given(st.sampled_from(MESSAGES), st.data())
def test_a_hello_with_any_bytes_changed_gives_a_hello_or_a_known_refusal(message, data):
    broken = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    read(record(bytes(broken)))


@given(st.sampled_from(MESSAGES), st.data())
def test_a_hello_split_over_records_anyhow_says_the_same(message, data):
    most = min(policy.MAX_HELLO_RECORDS, len(message)) - 1
    cuts = data.draw(st.sets(st.integers(1, len(message) - 1), max_size=most))
    edges = [0, *sorted(cuts), len(message)]
    split = b"".join(record(message[a:b]) for a, b in pairwise(edges))
    assert parse(split) == parse(record(message))
    assert parse(split[:-1]) is None


@given(st.sampled_from(HELLOS), st.data())
def test_more_bytes_never_take_back_an_answer(hello, data):
    """What is read from a beginning is also read from the whole: no answer depends on how segments arrive."""
    size = data.draw(st.integers(0, len(hello)))
    early = parse(hello[:size])
    assert early is None or early == parse(hello)


def seen_by_openssl(data: bytes) -> list[bytes | None]:
    """Feed a server of OpenSSL, and say which names it was asked for (empty: it refused before that).

    Through pyOpenSSL, which gives the bytes as they came; Python's callback fails where they aren't ASCII.
    """
    seen: list[bytes | None] = []
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_tlsext_servername_callback(lambda connection: seen.append(connection.get_servername()))
    server = SSL.Connection(context, None)
    server.set_accept_state()
    server.bio_write(data)
    with contextlib.suppress(SSL.Error):
        server.do_handshake()
    return seen


def first_flight(name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def as_a_host(name: bytes | None) -> str | None:
    """Give what we make of a name that OpenSSL was asked for; it takes any bytes but NUL."""
    if name is None:
        return None
    text = name.decode("latin-1").removesuffix(".")
    labels = text.split(".")
    good = all(0 < len(label) <= 63 and set(label) <= LETTERS for label in labels)
    return text.lower() if good and not labels[-1].isdigit() else None


@settings(max_examples=60)
@given(hosts)
def test_the_name_is_the_one_that_openssl_is_asked_for(name):
    flight = first_flight(name)
    hello = parse(flight)
    assert hello is not None
    (seen,) = seen_by_openssl(flight)
    assert hello.server_name == as_a_host(seen)


@given(st.sampled_from(MESSAGES), st.data())
@settings(max_examples=100)
def test_a_broken_hello_is_read_as_openssl_reads_it_or_refused(message, data):
    """Who reads it must not matter: else a client could be routed by one name and served by another."""
    broken = bytearray(message)
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    hello = read(record(bytes(broken)))
    seen = seen_by_openssl(record(bytes(broken)))
    if hello is not None and seen:
        assert hello.server_name == as_a_host(seen[0])


def test_a_name_with_bytes_outside_ascii_is_no_name():
    """Found by the law above; Python's own callback fails on it."""
    message = next(message for message in MESSAGES if b"device.test" in message)
    hello = record(message.replace(b"device.test", b"device.t\xa3st"))
    assert seen_by_openssl(hello) == [b"device.t\xa3st"]
    read_back = parse(hello)
    assert read_back is not None
    assert read_back.server_name is None
