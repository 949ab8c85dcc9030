"""Makes another certificate for the demo and drops it into the inbox, as any other program would.

Promises: it works on the running demo from outside, by nothing but the directory, once it has seen that one
runs; the file is written aside and renamed, so it is there whole or not at all. It is the line that the demo
asks its user to paste.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from certstore import Bundle
from tlsproxy.control.client import Client
from tlsproxy.demo.narration import labelled, print_of
from tlsproxy.demo.places import Places
from tlsproxy.errors import NotRunningError, ProxyError

_FILE = "demo.pem"
_RSA_BITS = 2048  # the least that browsers take, and quick to make


class NoDemoError(ProxyError):
    """There is no demo whose inbox a certificate could be dropped into."""

    code = "no_demo"

    def __init__(self, inbox: Path) -> None:
        super().__init__(inbox)
        self.inbox = inbox

    def __str__(self) -> str:
        return f"no demo runs that has its inbox at {self.inbox}"

    @property
    def hint(self) -> str:
        """Say how to start one."""
        return "start it first, in another terminal and the same folder: tlsproxy demo"


def drop(folder: Path, key_type: str = "ec") -> None:
    """Make a certificate with a new key ("ec" or "rsa"), drop it, and say so.

    Raises NoDemoError where none runs in `folder`, OSError where its inbox can't be written.
    """
    places = Places(folder)
    inbox = places.inbox
    try:
        with Client(places.control) as client:
            client.status()
    except NotRunningError:
        raise NoDemoError(inbox) from None
    bundle = make(key_type, datetime.now(UTC))
    place = put(inbox, bundle)
    click.echo(labelled("made", f"{bundle.key_type} certificate for {', '.join(bundle.names)}"))
    click.echo(labelled("certificate", *print_of(bundle.fingerprint)))
    click.echo(labelled("dropped as", str(place)))


def make(key_type: str, now: datetime) -> Bundle:
    """Make a self-signed certificate for this machine by its loopback names, with a key of its own.

    key_type: "ec" (P-256) or "rsa". It is made here, not by certstore's issuer, since it plays what a
    customer brings.
    """
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
        rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        if key_type == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    # The time in its name, so that the page shows at a glance which one is served.
    common_name = f"Demo certificate {now.astimezone():%H:%M:%S}"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    hosts = [x509.DNSName("localhost"), *(x509.IPAddress(ip_address(text)) for text in ("127.0.0.1", "::1"))]
    leaf = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Bundle.make(key, leaf, ())


def put(inbox: Path, bundle: Bundle) -> Path:
    """Write key and certificate to one file in `inbox`, readable by its owner only; give its path."""
    place, aside = inbox / _FILE, inbox / f".{_FILE}.{os.getpid()}"  # the inbox doesn't look at hidden names
    try:
        with open(aside, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(bundle.key_pem() + bundle.chain_pem())
        aside.replace(place)
    finally:
        aside.unlink(missing_ok=True)
    return place
