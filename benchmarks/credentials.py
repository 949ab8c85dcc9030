"""What all serve alike, an EC P-256 leaf with one intermediate, and new ones for rotations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki import Issued, Pki


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate and key as files in a folder of their own."""

    issued: Issued
    folder: Path

    @property
    def cert(self) -> Path:
        """The leaf, then the intermediate."""
        return self.folder / "device.pem"

    @property
    def key(self) -> Path:
        """The private key (PKCS#8)."""
        return self.folder / "device.key"

    @property
    def both(self) -> Path:
        """The chain and the key in one file, as HAProxy and hitch want it; outside `folder`'s own pair."""
        return self.folder.parent / f"{self.folder.name}-both.pem"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf, lower-case hex."""
        return hashlib.sha256(self.issued.certificate.public_bytes(Encoding.DER)).hexdigest()

    def write(self) -> None:
        """Write the files, each aside and renamed, as a careful tool does."""
        self.folder.mkdir(exist_ok=True)
        contents = {
            self.key: self.issued.key_pem,
            self.cert: self.issued.chain_pem,
            self.both: self.issued.chain_pem + self.issued.key_pem,
        }
        for path, content in contents.items():
            aside = path.with_name(f".new-{path.name}")
            aside.write_bytes(content)
            aside.chmod(0o600)
            aside.replace(path)


def issue(pki: Pki, folder: Path) -> Credentials:
    """Issue a certificate for device.test and the loopback address; its files are to be in `folder`."""
    return Credentials(pki.leaf(names=("device.test", "127.0.0.1")), folder)
