"""The device's own authority on the disk: its key and certificate, and whether anybody has it.

    authority/device-ca/ca.pem       key and certificate in one file, renamed over as one
    authority/device-ca/exported     there, once the certificate was given to somebody

Promises: key and certificate are of one make at any moment, and proved to belong together when they are read;
no worker may read them; one whose key is banned counts as none, so it signs nothing, and is given to nobody.
Reading is safe from any thread; what changes something takes the store's lock.
Refuses to know when it is to be made anew (identity.py), and by whom it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import layout
from certstore.atomic import Disk
from certstore.bundle import key_from_pem, key_to_pem, spki_of
from certstore.errors import NotFound, StoreCorrupt, StoreError, StoreExhausted
from certstore.issuers.deviceca import Authority
from certstore.loading import touch
from certstore.reading import read_file

__all__ = ["DeviceCA", "is_exported", "read_authority"]

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


class DeviceCA:
    """The folder `authority/device-ca/`."""

    def __init__(
        self,
        root: Path,
        disk: Disk,
        change: Callable[[], AbstractContextManager[None]],
        bans: Container[str],
    ) -> None:
        """Take the store's folder, what holds its lock or raises why it can't, and the banned keys."""
        self._root, self._disk, self._change, self._bans = root, disk, change, bans
        self._known: Authority | None = None
        self.on_kept: Callable[[], None] = lambda: None
        """Who hears, in the thread that did it, that it is another one, or lost: what it issues follows."""

    def current(self) -> Authority | None:
        """Give the authority; None where none was made, or its key is banned.

        Raises StoreCorrupt or StoreExhausted.
        """
        known = self._read()
        return known if known is not None and known.spki not in self._bans else None

    def lost(self) -> Authority | None:
        """Give the one whose key is banned, until another is kept. Raises as `current`."""
        known = self._read()
        return known if known is not None and known.spki in self._bans else None

    def has_key(self, spki: str) -> bool:
        """Say whether this is its key; of one that can't be read nobody knows it."""
        with suppress(StoreError):
            known = self._read()
            return known is not None and known.spki == spki
        return False

    @property
    def is_exported(self) -> bool:
        """Whether its certificate was given to somebody, who may trust it since."""
        return is_exported(self._root)

    def keep(self, authority: Authority) -> None:
        """Have this authority from now on, also instead of one that can't be read. Raises StoreError.

        In the place of one whose key is banned it is nobody's yet, whoever had that one.
        """
        with self._change():
            if self._is_lost():
                self._disk.remove([self._root / layout.EXPORTED])
            content = key_to_pem(authority.key) + authority.certificate.public_bytes(Encoding.PEM)
            self._disk.write(self._root / layout.DEVICE_CA_FILE, content)
            self._known = authority
        self.on_kept()

    def export(self) -> x509.Certificate:
        """Give the certificate to somebody: from now on nothing but a person's word changes what it covers.

        Raises NotFound or StoreError.
        """
        authority = self.current()
        if authority is None:
            raise NotFound("device authority", "")
        if not self.is_exported:
            with self._change():
                self._disk.write(self._root / layout.EXPORTED, b"")
        return authority.certificate

    def forget(self) -> None:
        """Read it anew at its next use, since a reset may have erased it. Under the store's lock."""
        self._known = None

    def remove(self) -> None:
        """Remove the authority, key and all, for a device that is to be another one. Raises StoreError."""
        with self._change():
            self._known = None
            self._disk.remove([self._root / layout.DEVICE_CA_FILE, self._root / layout.EXPORTED])

    def _read(self) -> Authority | None:
        if self._known is None:
            self._known = read_authority(self._root)
        return self._known

    def _is_lost(self) -> bool:
        with suppress(StoreError):
            return self.lost() is not None
        return False


def is_exported(root: Path) -> bool:
    """Say whether the certificate of a store's authority was given to somebody."""
    return (root / layout.EXPORTED).exists()


def read_authority(root: Path) -> Authority | None:
    """Read the authority of a store, whoever holds it; None where there is none. Raises as `current`."""
    path = root / layout.DEVICE_CA_FILE
    try:
        key_pem, mark, rest = read_file(path).partition(_CERTIFICATE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreExhausted(path, error.strerror or str(error)) from error
    try:
        key, certificate = key_from_pem(key_pem), x509.load_pem_x509_certificate(mark + rest)
        touch(certificate)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("its key is of another kind")  # noqa: TRY004, TRY301  one way to tell damage
        if spki_of(key.public_key()) != spki_of(certificate.public_key()):
            raise ValueError("its key is another one's")  # noqa: TRY301
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise StoreCorrupt(path, str(error)) from error
    return Authority(certificate, key)
