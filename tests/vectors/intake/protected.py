"""What a passphrase protects: PKCS #12 and keys, old and new, as every tool writes them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from tests.vectors.intake.authority import integer, key_bytes, oid, pem, tlv
from tests.vectors.intake.cases import Case, World

WORD = "sesame42"
EXPORT = "openssl pkcs12 -export -in a.pem -inkey a.pem -passout pass:sesame42 -out out"


def cases(world: World) -> Iterator[Case]:
    yield from _openssl_containers(world)
    yield from _other_containers(world)
    yield from _none(world)
    yield from _refused(world)
    yield from _keys(world)


def _container(world: World, name: str, command: str, by: str = "openssl", word: str | None = WORD) -> Case:
    made = world.tools.run(command, {"a.pem": world.issue().all_pem})
    return Case(name, by, {"device.p12": made}, passphrase=word)


def _openssl_containers(world: World) -> Iterator[Case]:
    options = {
        "aes": "",
        "rc2-40": "-legacy",
        "rc2-128": "-legacy -certpbe PBE-SHA1-RC2-128 -keypbe PBE-SHA1-RC2-128",
        "rc4-128": "-legacy -certpbe PBE-SHA1-RC4-128 -keypbe PBE-SHA1-RC4-40",
        "3des": "-certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-2DES",
        "md5-des": "-legacy -certpbe PBE-MD5-DES -keypbe PBE-SHA1-DES",
        "md5-rc2-64": "-legacy -certpbe PBE-MD5-RC2-64 -keypbe PBE-SHA1-RC2-64",
        "aes128": "-certpbe AES-128-CBC -keypbe AES-192-CBC -macalg sha384",
        "sha512": "-macalg sha512",
        "no-mac": "-nomac",
        "key-only-locked": "-certpbe NONE",
        "nothing-locked": "-certpbe NONE -keypbe NONE",
        "one-round": "-iter 1",
        "600000-rounds": "-iter 600000",
    }
    for name, more in options.items():
        yield _container(world, f"p12-openssl-{name}", f"{EXPORT} {more}")
    made = world.tools.run(f"{EXPORT} -caname Ausstellerkette", {"a.pem": world.issue().all_pem})
    armoured = world.tools.run(
        "(echo -----BEGIN PKCS12-----; base64 in; echo -----END PKCS12-----)", {"in": made}
    )
    yield Case("p12-in-pem", "openssl", {"device.pem": armoured}, passphrase=WORD)
    old = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    made = world.tools.run(f"{EXPORT} -legacy", {"a.pem": world.issue(old).all_pem})
    yield Case("p12-openssl-rsa", "openssl", {"device.pfx": made}, passphrase=WORD)


def _other_containers(world: World) -> Iterator[Case]:
    gnutls = (
        "certtool --to-p12 --load-privkey a.key --load-certificate a.pem --p12-name device --outder"
        " --outfile out"
    )
    for name, more in {
        "aes": "--password sesame42",
        "rc2-40": "--password sesame42 --pkcs-cipher rc2-40",
    }.items():
        one = world.issue()
        made = world.tools.run(f"{gnutls} {more}", {"a.pem": one.chain_pem, "a.key": one.key_pem})
        yield Case(f"p12-certtool-{name}", "certtool", {"device.p12": made}, passphrase=WORD)
    nss = (
        f"{EXPORT.replace('-out out', '-out in -name device')}; mkdir db;"
        "certutil -N -d sql:db --empty-password; pk12util -i in -d sql:db -W sesame42;"
        "pk12util -o out -n device -d sql:db -W sesame42"
    )
    yield _container(world, "p12-nss", nss, "pk12util")
    yield _container(world, "p12-nss-aes", f"{nss} -c AES-256-CBC -C AES-128-CBC", "pk12util")
    yield _container(
        world, "p12-nss-3des", f"{nss} -c 'PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC'", "pk12util"
    )
    java = (
        "{0} -name device; keytool -importkeystore -srckeystore out -srcstoretype pkcs12"
        " -srcstorepass sesame42 -destkeystore made -deststoretype {1} -deststorepass sesame42 {2};"
        " mv made out"
    )
    yield _container(world, "p12-keytool", java.format(EXPORT, "pkcs12", ""), "keytool")
    legacy = java.format(EXPORT, "pkcs12", "-J-Dkeystore.pkcs12.legacy")
    yield _container(world, "p12-keytool-legacy", legacy, "keytool")
    several = java.format(EXPORT, "pkcs12", "")
    several += (
        "; keytool -genkeypair -alias other -keyalg EC -dname CN=other.test -validity 27000"
        " -keystore out -storepass sesame42 -storetype pkcs12"
    )
    one = world.issue()
    made = world.tools.run(several, {"a.pem": one.all_pem})
    files = {"keystore.p12": made, "device.crt": pem(one.certificate)}
    yield Case("p12-keytool-two-keys", "keytool", files, ["several_leaves"], WORD)
    one = world.issue()
    strong = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(50_000)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA256())
        .build(WORD.encode())
    )
    made = pkcs12.serialize_key_and_certificates(b"x", one.key, one.certificate, [one.intermediate], strong)
    yield Case("p12-cryptography", "python", {"device.p12": made}, passphrase=WORD)
    umlauts = "pässwörd €42"
    command = "openssl pkcs12 -export -in a.pem -inkey a.pem -passout file:word -out out"
    for name, more in {"aes": "", "legacy": "-legacy"}.items():
        inputs = {"a.pem": world.issue().all_pem, "word": umlauts.encode()}
        made = world.tools.run(f"LC_ALL=C.UTF-8 {command} {more}", inputs)
        yield Case(f"p12-umlauts-{name}", "openssl", {"device.p12": made}, passphrase=umlauts)
    yield _pbmac1(world)


def _pbmac1(world: World) -> Case:
    """Change the integrity code to the one of RFC 9579, which the tools of this day don't write yet."""
    made = world.tools.run(f"{EXPORT} -nomac", {"a.pem": world.issue().all_pem})
    begin = 4 if made[1] == 0x82 else 3
    version_and_safe = made[begin:]
    content = world.tools.run(
        "openssl asn1parse -inform DER -in in -strparse 26 -noout -out out", {"in": made}
    )
    salt, rounds, size = bytes(range(16)), 10_000, 32
    key = hashlib.pbkdf2_hmac("sha256", WORD.encode(), salt, rounds, size)
    prf = tlv(0x30, oid("1.2.840.113549.2.9"), tlv(0x05))
    by = tlv(
        0x30, oid("1.2.840.113549.1.5.12"), tlv(0x30, tlv(0x04, salt), integer(rounds), integer(size), prf)
    )
    algorithm = tlv(0x30, oid("1.2.840.113549.1.5.14"), tlv(0x30, by, prf))
    code = tlv(0x30, algorithm, tlv(0x04, hmac.digest(key, content, "sha256")))
    whole = tlv(0x30, version_and_safe, tlv(0x30, code, tlv(0x04, b"NOT USED"), integer(1)))
    return Case("p12-pbmac1", "python", {"device.p12": whole}, passphrase=WORD)


def _none(world: World) -> Iterator[Case]:
    """No passphrase, in the ways that there are; each opens by itself."""
    empty = "openssl pkcs12 -export -in a.pem -inkey a.pem -passout pass: -out out"
    yield _container(world, "p12-empty-openssl", empty, word=None)
    yield _container(world, "p12-empty-openssl-legacy", f"{empty} -legacy", word=None)
    yield _container(world, "p12-empty-no-mac", f"{empty} -nomac -certpbe NONE -keypbe NONE", word=None)
    for name, more in {"empty": "--empty-password", "null": "--null-password"}.items():
        one = world.issue()
        made = world.tools.run(
            "certtool --to-p12 --load-privkey a.key --load-certificate a.pem --p12-name device --outder"
            f" --outfile out {more}",
            {"a.pem": one.chain_pem, "a.key": one.key_pem},
        )
        yield Case(f"p12-{name}-certtool", "certtool", {"device.p12": made})
    one = world.issue()
    made = pkcs12.serialize_key_and_certificates(
        b"x", one.key, one.certificate, [one.intermediate], NoEncryption()
    )
    yield Case("p12-none-cryptography", "python", {"device.p12": made})
    one = world.issue()
    made = pkcs12.serialize_key_and_certificates(
        b"x", one.key, one.certificate, [one.intermediate], NoEncryption()
    )
    yield Case("p12-none-passphrase-given", "python", {"device.p12": made}, passphrase="not needed")


def _refused(world: World) -> Iterator[Case]:
    made = world.tools.run(EXPORT, {"a.pem": world.issue().all_pem})
    yield Case("p12-without-passphrase", "openssl", {"device.p12": made}, ["passphrase_needed"])
    yield Case("p12-wrong-passphrase", "openssl", {"device.p12": made}, ["passphrase_wrong"], "sesame43")
    yield Case("p12-cut", "openssl", {"device.p12": made[:-20]}, ["file_truncated"], WORD)
    torn = bytearray(made)
    torn[made.index(bytes.fromhex("06092a864886f70d010706")) + 13] ^= 0x30
    yield Case("p12-damaged", "openssl", {"device.p12": bytes(torn)}, ["passphrase_wrong"], WORD)
    torn = bytearray(made)
    torn[made.rindex(bytes.fromhex("0609608648016503040201")) - 2] = 0x31
    yield Case("p12-damaged-frame", "openssl", {"device.p12": bytes(torn)}, ["container_damaged"], WORD)
    trust = "openssl pkcs12 -export -nokeys -in a.pem -passout pass:sesame42 -out out"
    made = world.tools.run(trust, {"a.pem": pem(world.root.certificate)})
    yield Case("p12-truststore", "openssl", {"trust.p12": made}, ["chain_only"], WORD)


def _keys(world: World) -> Iterator[Case]:
    new = "openssl pkcs8 -topk8 -in a.key -passout pass:sesame42 -out out"
    old = "openssl ec -in a.key -passout pass:sesame42 -out out"
    commands = {
        "pkcs8-aes256": new,
        "pkcs8-aes128-sha1": f"{new} -v2 aes-128-cbc -v2prf hmacWithSHA1",
        "pkcs8-aes192-sha512": f"{new} -v2 aes-192-cbc -v2prf hmacWithSHA512",
        "pkcs8-3des": f"{new} -v2 des3",
        "pkcs8-rc2": f"{new} -v2 rc2-64-cbc -provider legacy -provider default",
        "pkcs8-scrypt": f"{new} -scrypt",
        "pkcs8-sha1-3des": f"{new} -v1 PBE-SHA1-3DES",
        "pkcs8-sha1-rc2-40": f"{new} -v1 PBE-SHA1-RC2-40 -provider legacy -provider default",
        "pkcs8-md5-des": f"{new} -v1 PBE-MD5-DES -provider legacy -provider default",
        "pkcs8-der": f"{new} -outform DER",
        "old-aes256": f"{old} -aes-256-cbc",
        "old-aes192": f"{old} -aes-192-cbc",
        "old-aes128": f"{old} -aes-128-cbc",
        "old-3des": f"{old} -des3",
        "old-des": f"{old} -des -provider legacy -provider default",
    }
    for name, command in commands.items():
        one = world.issue()
        key = world.tools.run(command, {"a.key": one.key_pem})
        yield Case(f"key-{name}", "openssl", {"a.key": key, "a.crt": one.chain_pem}, passphrase=WORD)
    one = world.issue()
    key = world.tools.run(
        "certtool --to-p8 --load-privkey a.key --password sesame42 --outfile out", {"a.key": one.key_pem}
    )
    yield Case("key-pkcs8-certtool", "certtool", {"a.key": key, "a.crt": one.chain_pem}, passphrase=WORD)
    one = world.issue()
    key = world.tools.run(new.replace("sesame42", ""), {"a.key": one.key_pem})
    yield Case("key-pkcs8-empty", "openssl", {"a.key": key, "a.crt": one.chain_pem})
    one = world.issue()
    key = world.tools.run(new, {"a.key": one.key_pem}).replace(b"ENCRYPTED ", b"")
    yield Case("key-wrong-label", "openssl", {"a.key": key, "a.crt": one.chain_pem}, passphrase=WORD)
    for name, command in {"pkcs8": new, "old": f"{old} -aes-256-cbc"}.items():
        one = world.issue()
        files = {"a.key": world.tools.run(command, {"a.key": one.key_pem}), "a.crt": one.chain_pem}
        yield Case(f"key-{name}-without-passphrase", "openssl", files, ["passphrase_needed"])
        yield Case(f"key-{name}-wrong-passphrase", "openssl", files, ["passphrase_wrong"], "sesame43")
    one = world.issue()
    key = world.tools.run(f"{old} -aes-256-cbc", {"a.key": one.key_pem}).replace(
        b"AES-256-CBC", b"CAMELLIA-256-CBC"
    )
    yield Case(
        "key-old-unknown", "python", {"a.key": key, "a.crt": one.chain_pem}, ["protection_unknown"], WORD
    )
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    one = world.issue(rsa_key)
    der_key = key_bytes(rsa_key, PrivateFormat.TraditionalOpenSSL, Encoding.PEM)
    key = world.tools.run(
        "openssl rsa -in a.key -traditional -aes128 -passout pass:sesame42 -out out", {"a.key": der_key}
    )
    yield Case("key-old-rsa", "openssl", {"a.key": key, "a.crt": one.chain_pem}, passphrase=WORD)
