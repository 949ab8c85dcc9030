"""Boxes of certificates (PKCS #7) and of files (zip, tar)."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator

from tests.vectors.intake.authority import Issued, pem
from tests.vectors.intake.cases import Case, World
from tests.vectors.intake.protected import EXPORT, WORD


def cases(world: World) -> Iterator[Case]:
    yield from _pkcs7(world)
    yield from _zips(world)
    yield from _tars(world)
    yield from _refused(world)


def _pkcs7(world: World) -> Iterator[Case]:
    box = "openssl crl2pkcs7 -nocrl -certfile a.pem"
    for name, more, file in (("pem", "", "a.p7b"), ("der", "-outform DER", "a.p7c")):
        one = world.issue()
        made = world.tools.run(f"{box} {more}", {"a.pem": one.chain_pem})
        yield Case(f"p7-{name}", "openssl", {file: made, "a.key": one.key_pem})
    for name, label in (
        ("netscape", b"CERTIFICATE"),
        ("cms", b"CMS"),
        ("signed-data", b"PKCS #7 SIGNED DATA"),
    ):
        one = world.issue()
        made = world.tools.run(box, {"a.pem": one.chain_pem}).replace(b"PKCS7", label)
        yield Case(f"p7-{name}", "openssl", {"a.p7b": made, "a.key": one.key_pem})
    one = world.issue()
    gnutls = "certtool --p7-generate --load-certificate a.pem --outder --outfile out"
    yield Case(
        "p7-certtool",
        "certtool",
        {"a.p7b": world.tools.run(gnutls, {"a.pem": one.chain_pem}), "a.key": one.key_pem},
    )
    one = world.issue()
    signed = (
        "openssl cms -sign -in text -signer a.pem -inkey a.key -certfile i.pem -outform DER -stream -nodetach"
        " -binary -out out"
    )
    made = world.tools.run(
        signed,
        {
            "a.pem": one.chain_pem,
            "i.pem": pem(one.intermediate),
            "a.key": one.key_pem,
            "text": b"hello" * 2000,
        },
    )
    assert made[1] == 0x80, "of indefinite length"
    yield Case("p7-ber-signed", "openssl", {"a.p7m": made, "a.key": one.key_pem})
    one = world.issue()
    made = world.tools.run(f"{box} -outform DER", {"a.pem": one.chain_pem})
    torn = bytearray(made)
    torn[19] = 0x31
    yield Case("p7-damaged", "openssl", {"a.p7b": bytes(torn), "a.key": one.key_pem}, ["container_damaged"])
    data = world.tools.run("openssl cms -data_create -in a -outform DER -out out", {"a": b"hello" * 99})
    yield Case("p7-of-text", "openssl", {"a.p7b": data, "a.key": one.key_pem}, ["container_damaged"])
    yield Case("p7-without-key", "openssl", {"a.p7b": made}, ["certificate_without_key"])


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()


def tarred(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return out.getvalue()


def _files(one: Issued) -> dict[str, bytes]:
    return {
        "device.crt": pem(one.certificate),
        "ca/intermediate.crt": pem(one.intermediate),
        "device.key": one.key_pem,
    }


README = b"Your certificate is ready.\r\nInstall it.\r\n"


def _zips(world: World) -> Iterator[Case]:
    yield Case("zip", "python", {"device.zip": zipped(_files(world.issue()))})
    yield Case("zip-stored", "python", {"device.zip": zipped(_files(world.issue()), zipfile.ZIP_STORED)})
    one = world.issue()
    more = {"README.txt": README, "__MACOSX/._device.crt": b"\0\x05\x16\x07" + bytes(40), "empty": b""}
    yield Case(
        "zip-with-readme", "python", {"d.zip": zipped({**_files(one), **more})}, ["member_ignored"] * 3
    )
    one = world.issue()
    folder = {
        "../../etc/passwd": pem(one.certificate),
        "/abs/olute.key": one.key_pem,
        "a\\b.pem": pem(one.intermediate),
    }
    yield Case("zip-with-paths", "python", {"device.zip": zipped(folder)})
    one = world.issue()
    made = world.tools.run(
        "mkdir x; mv a.crt a.key x; zip -qr out.zip x; mv out.zip out",
        {"a.crt": one.chain_pem, "a.key": one.key_pem},
    )
    yield Case("zip-infozip", "zip", {"device.zip": made})
    one = world.issue()
    p12 = world.tools.run(EXPORT, {"a.pem": one.all_pem})
    yield Case("zip-of-p12", "openssl", {"device.zip": zipped({"device.p12": p12})}, passphrase=WORD)
    yield Case(
        "zip-of-p12-without-passphrase", "openssl", {"d.zip": zipped({"d.p12": p12})}, ["passphrase_needed"]
    )
    one = world.issue()
    yield Case(
        "zip-and-key-beside", "python", {"certs.zip": zipped({"a.crt": one.chain_pem}), "a.key": one.key_pem}
    )


def _tars(world: World) -> Iterator[Case]:
    yield Case("tar", "python", {"device.tar": tarred(_files(world.issue()))})
    yield Case("tar-gz", "python", {"device.tgz": gzip.compress(tarred(_files(world.issue())), mtime=0)})
    yield Case("tar-bz2", "python", {"device.tbz": bz2.compress(tarred(_files(world.issue())))})
    yield Case("tar-xz", "python", {"device.txz": lzma.compress(tarred(_files(world.issue())))})
    one = world.issue()
    links = {"passwd": "/etc/passwd", "up": "../../.."}
    yield Case("tar-with-links", "python", {"device.tar": tarred(_files(one), links)})
    one = world.issue()
    long = {"a" * 150 + "/device.pem": one.all_pem}
    yield Case("tar-long-names", "python", {"device.tar": tarred(long)})
    one = world.issue()
    made = world.tools.run("tar czf out a.crt a.key", {"a.crt": one.chain_pem, "a.key": one.key_pem})
    yield Case("tar-gnu", "tar", {"device.tar.gz": made})
    yield Case("gz-of-one-file", "python", {"device.pem.gz": gzip.compress(world.issue().all_pem, mtime=0)})


def _refused(world: World) -> Iterator[Case]:
    one = world.issue()
    inner = zipped(_files(one))
    yield Case(
        "zip-in-zip",
        "python",
        {"d.zip": zipped({"inner.zip": inner})},
        ["archive_nested", "nothing_usable"][:1],
    )
    yield Case(
        "tar-in-zip",
        "python",
        {"d.zip": zipped({"inner.tgz": gzip.compress(tarred(_files(one)))})},
        ["archive_nested"],
    )
    yield Case("gz-in-gz", "python", {"d.gz": gzip.compress(gzip.compress(one.all_pem))}, ["archive_nested"])
    made = world.tools.run("zip -q -P secret out.zip a.pem; mv out.zip out", {"a.pem": one.all_pem})
    yield Case("zip-encrypted", "zip", {"device.zip": made}, ["archive_encrypted"], "secret")
    torn = bytearray(zipped(_files(one), zipfile.ZIP_STORED))
    torn[100] ^= 1
    yield Case("zip-wrong-checksum", "python", {"device.zip": bytes(torn)}, ["archive_damaged"])
    yield Case("zip-cut", "python", {"device.zip": inner[:-30]}, ["archive_damaged"])
    yield Case(
        "zip-lzma", "python", {"device.zip": zipped(_files(one), zipfile.ZIP_LZMA)}, ["archive_damaged"]
    )
    yield Case("tar-cut", "python", {"device.tar": tarred(_files(one))[:900]}, ["archive_damaged"])
    yield Case(
        "tar-gz-cut", "python", {"d.tgz": gzip.compress(tarred(_files(one)))[:-40]}, ["archive_damaged"]
    )
    torn = bytearray(tarred(_files(one)))
    torn[150] = 0x39
    yield Case("tar-wrong-checksum", "python", {"device.tar": bytes(torn)}, ["archive_damaged"])
    damaged = zipped({"a.crt": one.chain_pem[:400], "a.key": one.key_pem})
    yield Case("zip-of-a-cut-file", "python", {"device.zip": damaged}, ["file_truncated"])
    yield Case(
        "zip-of-text", "python", {"d.zip": zipped({"README": README})}, ["member_ignored", "nothing_usable"]
    )
