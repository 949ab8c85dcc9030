"""The hello, case by case: one file each in tests/vectors/hello, its outcome in its head."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsproxy import policy
from tlsproxy.tls.clienthello import BadHello, ClientHello, NotTLS, parse

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "hello").glob("*.txt"))


def load(path: Path) -> tuple[dict[str, str], bytes]:
    lines = path.read_text("ascii").splitlines()
    head = [line[2:].partition(": ") for line in lines if line.startswith("# ")]
    data = bytes.fromhex("".join(line for line in lines if not line.startswith("#")))
    return {key: value for key, _, value in head}, data


def outcome_of(data: bytes) -> str:
    try:
        hello = parse(data)
    except NotTLS as error:
        return "http" if error.looks_like_http else "not_tls"
    except BadHello as error:
        return f"bad_hello {error.reason}"
    return "more" if hello is None else "hello"


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


def names_of(kind: str) -> list[Path]:
    return [path for path in VECTORS if load(path)[0]["outcome"].startswith(kind)]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_first_flight_is_taken_for_what_it_is(path):
    facts, data = load(path)
    assert outcome_of(data) == facts["outcome"]


@pytest.mark.parametrize("path", names_of("hello"), ids=lambda path: path.stem)
def test_a_hello_is_read_whole(path):
    facts, data = load(path)
    assert parse(data) == ClientHello(
        server_name=None if facts["server_name"] == "-" else facts["server_name"],
        alpn=() if facts["alpn"] == "-" else tuple(word.encode() for word in facts["alpn"].split()),
        versions=numbers(facts["versions"]),
        signature_algorithms=numbers(facts["signature_algorithms"]),
        groups=numbers(facts["groups"]),
        cipher_suites=numbers(facts["cipher_suites"]),
    )


@pytest.mark.parametrize("path", names_of("hello"), ids=lambda path: path.stem)
def test_any_beginning_of_a_hello_asks_for_more(path):
    _, data = load(path)
    assert [parse(data[:size]) for size in range(len(data))] == [None] * len(data)


def test_what_follows_a_hello_is_left_alone():
    _, data = load(VECTORS[0])
    assert parse(data + b"\x17\x03\x03\x00\x05early") == parse(data)


def test_a_bytearray_is_as_good_as_bytes():
    _, data = load(VECTORS[0])
    assert parse(bytearray(data)) == parse(data)


def test_a_hello_of_the_longest_length_is_read_and_one_byte_more_refused():
    _, data = load(VECTORS[0])

    def grown_to(length: int) -> bytes:
        body = data[9:]
        session = 35 + body[34]
        suites = session + 2 + int.from_bytes(body[session : session + 2], "big")
        front = body[: suites + 1 + body[suites]]
        extensions = body[len(front) + 2 :]
        missing = length - len(front) - 2 - len(extensions) - 4
        extensions += b"\xfa\xce" + missing.to_bytes(2, "big") + bytes(missing)
        message = front + len(extensions).to_bytes(2, "big") + extensions
        message = b"\x01" + len(message).to_bytes(3, "big") + message
        parts = [message[at : at + 16_384] for at in range(0, len(message), 16_384)]
        return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)

    # 65,535 bytes of extensions are the most, so that a whole hello comes near the limit and hardly above it
    assert parse(grown_to(65_000)) == parse(data)
    announced = b"\x16\x03\x01\x40\x00\x01" + (policy.MAX_HELLO_BYTES + 1).to_bytes(3, "big")
    assert outcome_of(announced) == "bad_hello too_long"
    assert outcome_of(announced[:6] + policy.MAX_HELLO_BYTES.to_bytes(3, "big")) == "more"


def test_an_error_says_what_came():
    assert "plain HTTP" in str(NotTLS(looks_like_http=True))
    assert "not TLS" in str(NotTLS(looks_like_http=False))
    assert "cut_short" in str(BadHello("cut_short"))
