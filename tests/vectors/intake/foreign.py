"""What people hand in that is something else; each is told what it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.vectors.intake.authority import END, START, pem
from tests.vectors.intake.cases import Case, World
from tests.vectors.intake.protected import EXPORT


def cases(world: World) -> Iterator[Case]:
    yield from _java(world)
    yield from _ssh(world)
    yield from _pgp(world)
    yield from _x509(world)
    yield from _documents()


def _java(world: World) -> Iterator[Case]:
    for name in ("jks", "jceks"):
        made = world.tools.run(
            f"{EXPORT}; keytool -importkeystore -srckeystore out -srcstoretype pkcs12 -srcstorepass sesame42"
            f" -destkeystore made -deststoretype {name} -deststorepass sesame42; mv made out",
            {"a.pem": world.issue().all_pem},
        )
        yield Case(f"java-{name}", "keytool", {"keystore.jks": made}, ["container_unsupported"], "sesame42")


def _ssh(world: World) -> Iterator[Case]:
    one = world.issue()
    plain = one.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    yield Case("ssh-key", "python", {"id": plain, "a.crt": one.chain_pem}, ["container_unsupported"])
    made = world.tools.run("ssh-keygen -q -t ed25519 -N sesame42 -f out", {})
    yield Case("ssh-key-locked", "ssh-keygen", {"id_ed25519": made}, ["container_unsupported"], "sesame42")
    made = world.tools.run("ssh-keygen -q -t ecdsa -N '' -f k; cp k.pub out", {})
    yield Case("ssh-public-key", "ssh-keygen", {"id.pub": made}, ["content_ignored", "nothing_usable"])
    old = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key = old.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    made = world.tools.run("chmod 600 k; puttygen k -O private -o out", {"k": key})
    yield Case("putty-key", "puttygen", {"key.ppk": made}, ["container_unsupported"])
    made = world.tools.run(
        "openssl rsa -in k -outform PVK -pvk-none -provider legacy -provider default -out out", {"k": key}
    )
    yield Case("microsoft-pvk", "openssl", {"key.pvk": made}, ["container_unsupported"])


def _pgp(world: World) -> Iterator[Case]:
    make = (
        "export GNUPGHOME=$PWD; chmod 700 .; gpg --batch -q --passphrase '' --quick-gen-key a@device.test"
        " ed25519;"
        "gpg --batch -q --armor --output out {}; gpgconf --kill gpg-agent"
    )
    for name, what in (("public", "--export"), ("private", "--export-secret-keys")):
        made = world.tools.run(make.format(what), {})
        yield Case(f"pgp-{name}-key", "gpg", {"key.asc": made}, ["content_ignored", "nothing_usable"])


def _x509(world: World) -> Iterator[Case]:
    one = world.issue()
    request = (
        x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(one.key, hashes.SHA256())
    )
    revoked = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(world.root.certificate.subject)
        .last_update(START)
        .next_update(END - timedelta(days=1))
        .sign(world.root.key, hashes.SHA256())
    )
    public = one.key.public_key()
    for name, encoding in (("pem", Encoding.PEM), ("der", Encoding.DER)):
        files = {f"a.{name}": request.public_bytes(encoding)}
        yield Case(f"csr-{name}", "python", files, ["request_ignored", "nothing_usable"])
        files = {f"a.{name}": revoked.public_bytes(encoding)}
        yield Case(f"crl-{name}", "python", files, ["content_ignored", "nothing_usable"])
        files = {f"a.{name}": public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)}
        yield Case(f"public-key-{name}", "python", files, ["content_ignored", "nothing_usable"])
    both = request.public_bytes(Encoding.PEM) + one.all_pem + revoked.public_bytes(Encoding.PEM)
    yield Case("csr-and-crl-beside", "python", {"a.pem": both}, ["content_ignored", "request_ignored"])
    parameters = world.tools.run("openssl ecparam -name prime256v1", {})
    yield Case("parameters-only", "openssl", {"a.pem": parameters}, ["nothing_usable"])
    locked = one.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    yield Case(
        "public-key-and-locked-key",
        "python",
        {"a.key": locked, "a.crt": pem(one.certificate)},
        ["passphrase_needed"],
    )


def _documents() -> Iterator[Case]:
    for name, content in {
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(100),
        "web-page": b"\r\n<!DOCTYPE html>\n<html><title>Please sign in</title></html>\n",
        "7z": b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(60),
        "rar": b"Rar!\x1a\x07\x01\0" + bytes(60),
        "outlook": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
    }.items():
        yield Case(f"document-{name}", "python", {f"device.{name}": content}, ["content_foreign"])
