"""The request that waits for the manufacturer's answer: a key and what was asked for it, in one folder.

Promises: key and request appear by one rename. Where another key takes the place of one that waits, the key
goes first, each by a rename of its own: between the two the request is another key's, which tells still who
asks, but is shown to nobody. Reading is safe from any thread; the rest wants the store's lock. A key that
can't be read as one can never get its certificate, so it counts as absent; one that only can't be read now is
an error. The key never stands in a repr.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certstore import firstboot, layout
from certstore.atomic import Disk
from certstore.bundle import PrivateKey, key_from_pem, key_to_pem, key_type_of, spki_of
from certstore.errors import RandomNotReady, StoreCorrupt
from certstore.factorystate import FactoryState, Stage
from certstore.issuers import factory, selfsigned
from certstore.issuers.selfsigned import Identity
from certstore.reading import read_file

__all__ = ["Waiting", "put", "read_waiting", "remove", "request_pem"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A key that waits for its certificate, and the request for it; None where that can't be read."""

    key: PrivateKey = field(repr=False)
    asked: x509.CertificateSigningRequest | None

    @property
    def spki(self) -> str:
        """The hash of its public key."""
        return spki_of(self.key.public_key())

    @property
    def identity(self) -> Identity | None:
        """Who asks; None where that can't be read, or was not asked for this key yet."""
        if self.asked is None or spki_of(self.asked.public_key()) != self.spki:
            return None
        return self.known

    @property
    def known(self) -> Identity | None:
        """Who asks, for this key or the one before it; None where that can't be read."""
        with suppress(ValueError):
            return factory.identity_in(self.asked) if self.asked is not None else None
        return None

    @property
    def state(self) -> FactoryState:
        """Tell of it."""
        identity, asked = self.identity, self.asked
        state = FactoryState(Stage.WAITING, key_type=key_type_of(self.key.public_key()), spki=self.spki)
        if identity is None or asked is None:
            return state
        return state.with_request(request_pem(asked), identity.serial, identity.names)


def request_pem(asked: x509.CertificateSigningRequest) -> bytes:
    """Write a request as PEM."""
    return asked.public_bytes(Encoding.PEM)


def read_waiting(root: Path) -> Waiting | None:
    """Read what waits in a store; None where nothing does. Raises StoreCorrupt where it can't be read now."""
    folder = root / layout.FACTORY_REQUEST
    try:
        key = key_from_pem(read_file(folder / layout.KEY))
        with suppress(FileNotFoundError, ValueError):
            return Waiting(key, x509.load_pem_x509_csr(read_file(folder / layout.FACTORY_CSR)))
        return Waiting(key, None)
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    except OSError as error:
        raise StoreCorrupt(folder, error.strerror or str(error)) from error


def put(root: Path, disk: Disk, wanted: Identity, waiting: Waiting | None) -> Waiting:
    """Have a request wait; for the key that waits already, else for a new one.

    Raises Refusal for an identity that no certificate can carry, RandomNotReady, or another StoreError.
    """
    folder = root / layout.FACTORY_REQUEST
    if waiting is not None:
        asked = factory.request(wanted, waiting.key)
        disk.write(folder / layout.FACTORY_CSR, request_pem(asked), aside_in=root / layout.FACTORY)
        return Waiting(waiting.key, asked)
    if not firstboot.random_ready():
        raise RandomNotReady
    key = selfsigned.new_key()
    asked = factory.request(wanted, key)
    content = {layout.KEY: key_to_pem(key), layout.FACTORY_CSR: request_pem(asked)}
    if folder.exists():
        for name, text in content.items():  # the key first, see above
            disk.write(folder / name, text, aside_in=root / layout.FACTORY)
    else:
        disk.place_folder(folder, content)
    return Waiting(key, asked)


def remove(root: Path, disk: Disk) -> None:
    """Remove what waits, key and all."""
    folder = root / layout.FACTORY_REQUEST
    if folder.exists():
        disk.remove_folder(folder)
