"""What the corpus is made from: an authority whose certificates outlive this project, and tools at work."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def key_bytes(
    key: Key, form: PrivateFormat = PrivateFormat.PKCS8, encoding: Encoding = Encoding.PEM
) -> bytes:
    return key.private_bytes(encoding, form, NoEncryption())


@dataclass(frozen=True)
class Issuer:
    """An authority's certificate with its key."""

    certificate: x509.Certificate
    key: Key

    def sign(
        self,
        name: str,
        key: Key,
        *,
        ca: bool = False,
        names: tuple[str, ...] = (),
        end: datetime = END,
    ) -> x509.Certificate:
        return _sign(name, key, (self.certificate.subject, self.key), ca=ca, names=names, end=end)


def root(name: str, key: Key | None = None) -> Issuer:
    own = key or new_key()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return Issuer(_sign(name, own, (subject, own), ca=True, names=(), end=END), own)


def below(issuer: Issuer, name: str, key: Key | None = None, end: datetime = END) -> Issuer:
    own = key or new_key()
    return Issuer(issuer.sign(name, own, ca=True, end=end), own)


def _sign(
    name: str,
    key: Key,
    by: tuple[x509.Name, Key],
    *,
    ca: bool,
    names: tuple[str, ...],
    end: datetime,
) -> x509.Certificate:
    issuer, issuer_key = by
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@dataclass(frozen=True)
class Issued:
    """A device's key and certificate, with the intermediate above it; new for each case."""

    key: Key
    certificate: x509.Certificate
    intermediate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        return key_bytes(self.key)

    @property
    def chain_pem(self) -> bytes:
        return pem(self.certificate, self.intermediate)

    @property
    def all_pem(self) -> bytes:
        return self.chain_pem + self.key_pem


class Tools:
    """Runs programs in a folder of their own, which holds `inputs`; gives back what they made."""

    def run(self, command: str, inputs: dict[str, bytes], made: str = "out", stdin: bytes = b"") -> bytes:
        """Run a shell command; gives the file `made`, or what was written to stdout where there is none."""
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for name, content in inputs.items():
                (folder / name).write_bytes(content)
            done = subprocess.run(
                ["bash", "-euc", command], cwd=folder, input=stdin, capture_output=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{command}\n{done.stderr.decode()}")
            path = folder / made
            return path.read_bytes() if path.exists() else done.stdout


def tlv(tag: int, *parts: bytes) -> bytes:
    """Write an element in DER."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray([first * 40 + second])
    for arc in rest:
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return tlv(0x06, bytes(out))
