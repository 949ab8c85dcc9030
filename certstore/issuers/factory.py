"""The factory's requests: what the device asks its manufacturer to sign, once for its life (IEEE 802.1AR).

Promises: a PKCS#10 request (RFC 2986) for a key that was made here and leaves by no way, which says who the
device is: serial number and name in the subject, names and addresses as subjectAltName, and that it is for a
TLS server. The request is the record: who asked for what is read back from it. Reads no clock and no disk.
Refuses to know: where it waits (provisioning.py), and what the authority makes of it.

A serial number is never altered to fit: on a production line the certificate, the label and the database must
say the same, so one that doesn't fit is refused.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certstore.bundle import PrivateKey
from certstore.errors import Refusal
from certstore.findings import found
from certstore.issuers.selfsigned import (
    LONGEST_ATTRIBUTE,
    PRINTABLE,
    Identity,
    general_names,
    key_usage,
    subject_of,
)

__all__ = ["identity_in", "request", "serial_in"]


def request(identity: Identity, key: PrivateKey) -> x509.CertificateSigningRequest:
    """Ask for a certificate for this identity and key.

    Refusal: factory_serial_missing, factory_serial_unusable, factory_name_missing.
    """
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey), "no browser takes another kind"
    if not identity.serial:
        raise Refusal(found("factory_serial_missing"))
    if len(identity.serial) > LONGEST_ATTRIBUTE or not PRINTABLE.issuperset(identity.serial):
        raise Refusal(found("factory_serial_unusable", serial=identity.serial))
    if not identity.names:
        raise Refusal(found("factory_name_missing"))
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject_of(identity))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(general_names(identity.names)), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def identity_in(asked: x509.CertificateSigningRequest) -> Identity:
    """Read back who asked. ValueError where that isn't one of our requests."""
    try:
        alternative = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternative = x509.SubjectAlternativeName([])
    names = tuple(str(n.value) for n in alternative if isinstance(n, x509.DNSName | x509.IPAddress))
    common = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Identity(names, serial_in(asked.subject), str(common[0].value) if common else "")


def serial_in(subject: x509.Name) -> str:
    """Read a device's serial number from a subject; "" where there is none."""
    serials = subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    return str(serials[0].value) if serials else ""
