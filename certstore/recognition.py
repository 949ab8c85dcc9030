"""Recognition: what a file or a PEM block is that is none of ours, in words, with the way on.

Pure tables and first bytes. Promises: no more than a name; what is named here is never decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Foreign", "foreign_block", "foreign_file"]


@dataclass(frozen=True, slots=True)
class Foreign:
    """What it is, and the code of the finding that says so; `advice`: the command, or what to do."""

    code: str
    kind: str
    advice: str = ""


def _convertible(kind: str, command: str) -> Foreign:
    return Foreign("container_unsupported", kind, command)


def _ignored(kind: str) -> Foreign:
    return Foreign("content_ignored", kind)


def _other(kind: str, advice: str) -> Foreign:
    return Foreign("content_foreign", kind, advice)


_KEYTOOL: Final = "keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype pkcs12"
_OPENSSH: Final = _convertible("a private key in OpenSSH's own form", "ssh-keygen -p -m PEM -f FILE")
_PUTTY: Final = _convertible("a private key in PuTTY's form", "puttygen FILE -O private-openssh -o KEY.pem")
_AGAIN: Final = "export the certificate and its key again, as PEM or PKCS #12 (.p12, .pfx)"
_UNPACK: Final = "unpack it, and hand in the certificate and key files themselves"

_BEGINNINGS: Final[tuple[tuple[bytes, Foreign], ...]] = (
    (b"\xfe\xed\xfe\xed", _convertible("a Java keystore (JKS)", _KEYTOOL)),
    (b"\xce\xce\xce\xce", _convertible("a Java keystore (JCEKS)", f"{_KEYTOOL} -srcstoretype jceks")),
    (
        b"\x1e\xf1\xb5\xb0",
        _convertible(
            "a private key in Microsoft's PVK form", "openssl rsa -inform PVK -in FILE -out KEY.pem"
        ),
    ),
    (b"PuTTY-User-Key-File-", _PUTTY),
    (b"openssh-key-v1\0", _OPENSSH),
    (b"7z\xbc\xaf\x27\x1c", _other("a 7-Zip archive", _UNPACK)),
    (b"Rar!\x1a\x07", _other("a RAR archive", _UNPACK)),
    (b"\xd0\xcf\x11\xe0", _other("an old Office document or mail", _AGAIN)),
    (b"%PDF-", _other("a PDF document", _AGAIN)),
)
_TEXTS: Final[tuple[tuple[bytes, Foreign], ...]] = (
    (
        b"<!doctype html",
        _other("a web page", "download the certificate again: this may be the page that asks to sign in"),
    ),
    (
        b"<html",
        _other("a web page", "download the certificate again: this may be the page that asks to sign in"),
    ),
    (b"ssh-rsa ", _ignored("an SSH public key")),
    (b"ssh-ed25519 ", _ignored("an SSH public key")),
    (b"ecdsa-sha2-", _ignored("an SSH public key")),
    (b"---- begin ssh2 public key", _ignored("an SSH public key")),
)
_LABELS: Final[dict[str, Foreign]] = {
    "OPENSSH PRIVATE KEY": _OPENSSH,
    "X509 CRL": _ignored("a revocation list (CRL)"),
    "CRL": _ignored("a revocation list (CRL)"),
    "PUBLIC KEY": _ignored("a public key"),
    "RSA PUBLIC KEY": _ignored("a public key"),
    "SSH2 PUBLIC KEY": _ignored("an SSH public key"),
    "PGP PUBLIC KEY BLOCK": _ignored("a PGP public key"),
    "PGP PRIVATE KEY BLOCK": _ignored("a PGP private key"),
    "PGP MESSAGE": _ignored("a PGP message"),
    "PGP SIGNATURE": _ignored("a PGP signature"),
    "ATTRIBUTE CERTIFICATE": _ignored("an attribute certificate"),
    "TSS2 PRIVATE KEY": _other(
        "a private key that only a TPM can use", "import a certificate with a key of its own"
    ),
}


def foreign_file(data: bytes) -> Foreign | None:
    """Recognise a whole file by its beginning."""
    for beginning, foreign in _BEGINNINGS:
        if data.startswith(beginning):
            return foreign
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((foreign for beginning, foreign in _TEXTS if start.startswith(beginning)), None)


def foreign_block(label: str) -> Foreign | None:
    """Recognise a PEM block by its label; None: ours, or nothing to speak of (parameters)."""
    return _LABELS.get(label)
