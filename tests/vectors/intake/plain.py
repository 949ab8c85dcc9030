"""PEM and DER as editors, shells and tools leave them."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from tests.vectors.intake.authority import der, key_bytes, pem
from tests.vectors.intake.cases import Case, World


def cases(world: World) -> Iterator[Case]:
    yield from _texts(world)
    yield from _openssl(world)
    yield from _ders(world)
    yield from _broken(world)


def _texts(world: World) -> Iterator[Case]:
    def edited(name: str, change) -> Case:
        return Case(name, "python", {"device.pem": change(world.issue().all_pem)})

    yield edited("pem-in-one", lambda text: text)
    yield edited("pem-crlf", lambda text: text.replace(b"\n", b"\r\n"))
    yield edited("pem-cr", lambda text: text.replace(b"\n", b"\r"))
    yield edited("pem-utf8-mark", lambda text: b"\xef\xbb\xbf" + text)
    yield edited("pem-utf16le-mark", lambda text: b"\xff\xfe" + text.decode().encode("utf-16-le"))
    yield edited("pem-utf16be-mark", lambda text: b"\xfe\xff" + text.decode().encode("utf-16-be"))
    yield edited("pem-utf16le", lambda text: text.decode().encode("utf-16-le"))
    yield edited("pem-utf16be", lambda text: text.decode().encode("utf-16-be"))
    yield edited("pem-utf16-crlf", lambda text: text.replace(b"\n", b"\r\n").decode().encode("utf-16-le"))
    yield edited("pem-indented", lambda text: b"".join(b"    " + line + b"\n" for line in text.split(b"\n")))
    yield edited("pem-joined", lambda text: text.replace(b"\n-----BEGIN", b"-----BEGIN"))
    yield edited("pem-text-around", lambda text: "für die Anlage\n".encode() + text + b"\n-- \nthe end\n")
    one = world.issue()
    yield Case("pem-key-first", "python", {"device.pem": one.key_pem + one.chain_pem})
    one = world.issue()
    yield Case(
        "pem-three-files",
        "python",
        {"cert.pem": pem(one.certificate), "chain.pem": pem(one.intermediate), "privkey.pem": one.key_pem},
    )
    one = world.issue()
    bare = {
        "cert.txt": base64.encodebytes(der(one.certificate)),
        "key.txt": base64.b64encode(key_bytes(one.key, encoding=Encoding.DER)),
    }
    yield Case("base64-without-armour", "python", {**bare, "chain.pem": pem(one.intermediate)})


def _openssl(world: World) -> Iterator[Case]:
    run = world.tools.run
    one = world.issue()
    told = run("openssl x509 -in a.pem -text", {"a.pem": pem(one.certificate)})
    yield Case("openssl-text", "openssl", {"device.pem": told + one.key_pem + pem(one.intermediate)})
    one = world.issue()
    bags = run(
        "openssl pkcs12 -export -in a.pem -inkey a.pem -passout pass:x -name Gerät -out p12;"
        "openssl pkcs12 -in p12 -passin pass:x -nodes",
        {"a.pem": one.all_pem},
    )
    yield Case("openssl-bag-attributes", "openssl", {"device.pem": bags})
    one = world.issue()
    trusted = run(
        "openssl x509 -in a.pem -trustout -addtrust serverAuth -setalias device",
        {"a.pem": pem(one.certificate)},
    )
    yield Case(
        "openssl-trusted-certificate",
        "openssl",
        {"a.pem": trusted + one.key_pem, "b.pem": pem(one.intermediate)},
    )
    one = world.issue()
    key = run("openssl ec -in a.key", {"a.key": one.key_pem})
    parameters = run("openssl ecparam -name prime256v1", {})
    yield Case("openssl-ec-parameters", "openssl", {"a.key": parameters + key, "a.crt": one.chain_pem})
    one = world.issue(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    old = run("openssl rsa -in a.key -traditional", {"a.key": one.key_pem})
    yield Case("openssl-rsa-traditional", "openssl", {"a.key": old, "a.crt": one.chain_pem})
    one = world.issue()
    told = run("certtool --certificate-info --infile a.pem", {"a.pem": pem(one.certificate)})
    yield Case("certtool-text", "certtool", {"a.crt": told + pem(one.intermediate), "a.key": one.key_pem})
    key = run("certtool --key-info --infile a.key", {"a.key": one.key_pem})  # GnuTLS leaves out the curve
    yield Case("certtool-no-curve", "certtool", {"a.crt": one.chain_pem, "a.key": key}, ["key_unparsable"])


def _ders(world: World) -> Iterator[Case]:
    forms = {"pkcs8": PrivateFormat.PKCS8, "sec1": PrivateFormat.TraditionalOpenSSL}
    for name, form in forms.items():
        one = world.issue()
        files = {"a.cer": der(one.certificate), "ca.cer": der(one.intermediate)}
        yield Case(f"der-{name}", "python", {**files, "a.key": key_bytes(one.key, form, Encoding.DER)})
    one = world.issue(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    key = key_bytes(one.key, PrivateFormat.TraditionalOpenSSL, Encoding.DER)
    yield Case(
        "der-pkcs1", "python", {"a.key": key, "a.cer": der(one.certificate), "i.cer": der(one.intermediate)}
    )
    one = world.issue()
    both = der(one.certificate) + der(one.intermediate)
    yield Case("der-one-after-the-other", "python", {"chain.der": both, "a.key": one.key_pem})


def _broken(world: World) -> Iterator[Case]:
    one = world.issue()
    yield Case("broken-empty", "python", {"a.pem": b"", "a.key": one.key_pem}, ["file_empty"])
    yield Case("broken-blank", "python", {"a.pem": b" \r\n\t\n", "a.key": one.key_pem}, ["file_empty"])
    yield Case("broken-pem-cut", "python", {"a.pem": one.all_pem[:300]}, ["file_truncated"])
    yield Case("broken-der-cut", "python", {"a.cer": der(one.certificate)[:-9]}, ["file_truncated"])
    torn = one.chain_pem[:200] + b"!!" + one.chain_pem[202:]
    yield Case("broken-base64", "python", {"a.pem": torn + one.key_pem}, ["certificate_unparsable"])
    wrong = bytearray(der(one.certificate))
    wrong[12] ^= 0x55
    yield Case(
        "broken-der", "python", {"a.cer": bytes(wrong), "a.key": one.key_pem}, ["certificate_unparsable"]
    )
    key = bytearray(key_bytes(one.key, encoding=Encoding.DER))
    key[9] ^= 0x55
    yield Case("broken-key", "python", {"a.pem": one.chain_pem, "a.key": bytes(key)}, ["key_unparsable"])
    yield Case(
        "broken-garbage", "python", {"a.pem": bytes(range(255, 0, -1)), "a.key": one.key_pem}, ["unparsable"]
    )
