"""What is made to hurt: far too many rounds, far too much memory, far too deep, far too many."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from tests.vectors.intake.authority import integer, oid, pem, tlv
from tests.vectors.intake.cases import Case, World
from tests.vectors.intake.packed import tarred, zipped
from tests.vectors.intake.protected import EXPORT, WORD

PBES2, PBKDF2, SCRYPT = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12", "1.3.6.1.4.1.11591.4.11"
AES256 = tlv(0x30, oid("2.16.840.1.101.3.4.1.42"), tlv(0x04, bytes(16)))


def cases(world: World) -> Iterator[Case]:
    yield from _rounds(world)
    yield from _shapes(world)
    yield from _bombs(world)


def _locked_key(derivation: bytes, scheme: bytes = AES256) -> bytes:
    """Write a protected key (RFC 5958 section 3) as nobody else would."""
    algorithm = tlv(0x30, oid(PBES2), tlv(0x30, derivation, scheme))
    return tlv(0x30, algorithm, tlv(0x04, bytes(160)))


def _rounds(world: World) -> Iterator[Case]:
    costly = ["passphrase_too_costly"]
    for name, more in {"mac": "-maciter -iter 3000000", "legacy": "-legacy -iter 3000000"}.items():
        made = world.tools.run(f"{EXPORT} {more}", {"a.pem": world.issue().all_pem})
        yield Case(f"hostile-p12-{name}-3000000", "openssl", {"device.p12": made}, costly, WORD)
        yield Case(f"hostile-p12-{name}-3000000-locked", "openssl", {"device.p12": made}, costly)
    made = world.tools.run(f"{EXPORT} -nomac -iter 3000000", {"a.pem": world.issue().all_pem})
    yield Case("hostile-p12-bags-3000000", "openssl", {"device.p12": made}, costly, WORD)
    inner = world.tools.run(
        "openssl pkcs8 -topk8 -in a.key -outform DER -iter 3000000 -passout pass:sesame42 -out out",
        {"a.key": world.issue().key_pem},
    )
    bag = tlv(0x30, tlv(0x30, oid("1.2.840.113549.1.12.10.1.2"), tlv(0xA0, inner)))
    safe = tlv(0x30, oid("1.2.840.113549.1.7.1"), tlv(0xA0, tlv(0x04, bag)))
    whole = tlv(
        0x30, integer(3), tlv(0x30, oid("1.2.840.113549.1.7.1"), tlv(0xA0, tlv(0x04, tlv(0x30, safe))))
    )
    yield Case("hostile-p12-inside-3000000", "openssl", {"device.p12": whole}, costly, WORD)
    one = world.issue()
    crt = {"a.crt": one.chain_pem}
    for name, rounds in {"3000000": 3_000_000, "2-to-the-63": 2**63, "2-to-the-200": 2**200}.items():
        by = tlv(0x30, oid(PBKDF2), tlv(0x30, tlv(0x04, bytes(8)), integer(rounds)))
        yield Case(f"hostile-key-{name}", "python", {"a.key": _locked_key(by), **crt}, costly, WORD)
    for name, (n, r, p) in {
        "memory": (1 << 40, 8, 1),
        "time": (1 << 14, 8, 1 << 20),
        "blocks": (2, 1 << 30, 1),
    }.items():
        by = tlv(0x30, oid(SCRYPT), tlv(0x30, tlv(0x04, bytes(8)), integer(n), integer(r), integer(p)))
        yield Case(f"hostile-scrypt-{name}", "python", {"a.key": _locked_key(by), **crt}, costly, WORD)
    by = tlv(0x30, oid(PBKDF2), tlv(0x30, tlv(0x04, bytes(8)), integer(0)))
    yield Case(
        "hostile-key-no-rounds", "python", {"a.key": _locked_key(by), **crt}, ["container_damaged"], WORD
    )
    gcm = tlv(0x30, oid("2.16.840.1.101.3.4.1.46"), tlv(0x30, tlv(0x04, bytes(12))))
    by = tlv(0x30, oid(PBKDF2), tlv(0x30, tlv(0x04, bytes(8)), integer(2048)))
    yield Case(
        "hostile-key-unknown-cipher",
        "python",
        {"a.key": _locked_key(by, gcm), **crt},
        ["protection_unknown"],
        WORD,
    )
    by = tlv(0x30, oid(PBKDF2), tlv(0x30, tlv(0x04, bytes(100_000)), integer(2048)))
    yield Case(
        "hostile-key-long-salt", "python", {"a.key": _locked_key(by), **crt}, ["container_damaged"], WORD
    )
    many = b"".join(
        tlv(
            0x30,
            tlv(
                0x30,
                oid(PBES2),
                tlv(
                    0x30,
                    tlv(0x30, oid(PBKDF2), tlv(0x30, tlv(0x04, bytes([i]) * 8), integer(900_000))),
                    AES256,
                ),
            ),
            tlv(0x04, bytes(160)),
        )
        for i in range(20)
    )
    yield Case("hostile-twenty-keys", "python", {"a.key": many, **crt}, ["passphrase_wrong", *costly], WORD)


def _shapes(world: World) -> Iterator[Case]:
    key = {"a.key": world.issue().key_pem}
    deep = b""
    for _ in range(3000):
        deep = tlv(0x30, deep)
    yield Case("hostile-deep", "python", {"a.der": deep, **key}, ["certificate_unparsable"])
    yield Case(
        "hostile-deep-ber", "python", {"a.der": b"\x30\x80" * 100_000, **key}, ["certificate_unparsable"]
    )
    signed = oid("1.2.840.113549.1.7.2")
    ber = b"\x30\x80" + signed + b"\xa0\x80" + b"\x30\x80" * 20_000 + b"\0\0" * 20_002
    yield Case("hostile-deep-p7", "python", {"a.p7b": ber, **key}, ["certificate_unparsable"])
    wide = tlv(0x30, *[tlv(0x02, b"\x03")] * 100_000)
    yield Case("hostile-wide", "python", {"a.der": wide, **key}, ["key_unparsable"])
    empty = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    yield Case("hostile-blocks", "python", {"a.pem": empty * 10_000, **key}, ["too_many_blocks"])
    roots = pem(*(world.intermediate.sign(f"Root {i}", world.root.key, ca=True) for i in range(140)))
    yield Case("hostile-many-roots", "python", {"ca.pem": roots, **key}, ["too_many_certificates"])
    yield Case(
        "hostile-length",
        "python",
        {"a.der": b"\x30\x84\xff\xff\xff\xff" + bytes(50), **key},
        ["file_truncated"],
    )


def _bombs(world: World) -> Iterator[Case]:
    large = ["archive_too_large"]
    yield Case("hostile-zip-bomb", "python", {"a.zip": zipped({"a.pem": bytes(200 << 20)})}, large)
    many = {f"{i}.pem": b"x" for i in range(5000)}
    yield Case("hostile-zip-entries", "python", {"a.zip": zipped(many, zipfile.ZIP_STORED)}, large)
    once = world.tools.run("head -c 100000000 /dev/zero | bzip2 -9 > out", {})
    yield Case("hostile-bzip2-bomb", "bzip2", {"a.bz2": once}, large)
    once = world.tools.run("head -c 100000000 /dev/zero | gzip -9n > out", {})
    yield Case("hostile-gzip-bomb", "gzip", {"a.gz": once}, large)
    once = world.tools.run("head -c 200000000 /dev/zero | xz -0 > out", {})
    yield Case("hostile-xz-bomb", "xz", {"a.xz": once}, large)
    once = world.tools.run("echo hello | xz --lzma2=dict=1GiB > out", {})
    yield Case("hostile-xz-memory", "xz", {"a.xz": once}, ["archive_damaged"])
    tar = tarred({f"{i}.pem": b"" for i in range(300)})
    yield Case("hostile-tar-entries", "python", {"a.tar": tar}, large)
    header = bytearray(tarred({"a.pem": b"x"})[:512])
    header[124:136] = b"\x80" + b"\xff" * 11
    yield Case("hostile-tar-size", "python", {"a.tar": bytes(header) + bytes(1024)}, ["archive_damaged"])
