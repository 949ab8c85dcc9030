"""Reference: what certificates are compared with on this machine: known roots, block lists, its own names.

Promises: opened once, by a process that may still open files, and asked by ones that may not; a list that
can't be read keeps nobody from anything, and is told (`unread`). Where no list of roots is named, the
system's is taken, if it has one. Refuses to know what follows from what is found (checks.py).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.utils import CryptographyDeprecationWarning

from certstore.blocklist import Blocklist, open_blocklist, traces_of
from certstore.bundle import is_issued_by
from certstore.circumstances import Anchor, Circumstances

__all__ = ["NOTHING", "USUAL_ROOTS", "Comparison", "Reference"]

# Where distributions have the roots that their programs trust (Go's crypto/x509/root_linux.go).
USUAL_ROOTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_LARGEST_ROOTS: Final = 8 << 20  # bytes; Mozilla's list has 200 KB
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Comparison:
    """With what certificates are compared: `roots` in PEM ("": the system's), block lists (blocklist.py).

    reached_by: the names and addresses that clients use, normalised.
    """

    roots: str = ""
    blocklists: tuple[str, ...] = ()
    reached_by: tuple[str, ...] = ()


class Reference:
    """What the files said when they were opened."""

    __slots__ = ("_blocklists", "_reached_by", "_roots", "unread")

    def __init__(
        self,
        roots: Iterable[x509.Certificate] | None,
        blocklists: Sequence[Blocklist] = (),
        unread: tuple[str, ...] = (),
        reached_by: tuple[str, ...] = (),
    ) -> None:
        """Take known roots (None: there is no list), block lists, what couldn't be read, and our names."""
        self._blocklists, self._reached_by, self.unread = tuple(blocklists), reached_by, unread
        self._roots: dict[bytes, list[x509.Certificate]] | None = None if roots is None else {}
        for root in roots or ():
            assert self._roots is not None
            self._roots.setdefault(root.subject.public_bytes(), []).append(root)

    @classmethod
    def open(cls, comparison: Comparison) -> Reference:
        """Read and open what there is; never raises for a file."""
        unread: list[str] = []
        blocklists: list[Blocklist] = []
        for name in comparison.blocklists:
            try:
                blocklists.append(open_blocklist(Path(name)))
            except OSError as error:
                unread.append(f"{name}: {(error.strerror or str(error)).lower()}")
            except ValueError as error:
                unread.append(f"{name}: {error}")
        roots: list[x509.Certificate] | None = None
        for name in [comparison.roots] if comparison.roots else USUAL_ROOTS:
            try:
                roots = _read_roots(Path(name))
                break
            except OSError as error:
                if comparison.roots:
                    unread.append(f"{name}: {(error.strerror or str(error)).lower()}")
        return cls(roots or None, blocklists, tuple(unread), comparison.reached_by)

    def surround(
        self, leaf: x509.Certificate, chain: Sequence[x509.Certificate], circumstances: Circumstances
    ) -> Circumstances:
        """Add what is known here to judge a leaf and its chain by (the leaf's issuer first)."""
        key_listed = ""
        with suppress(UnsupportedAlgorithm, ValueError):  # of a kind that nobody lists
            key_listed = self._listed(*traces_of(leaf.public_key()))
        return replace(
            circumstances,
            reached_by=circumstances.reached_by or self._reached_by,
            anchor=self._anchor(chain[-1] if chain else leaf),
            key_listed=key_listed,
            certificate_listed=self._listed(leaf.fingerprint(hashes.SHA256())),
            unread=self.unread,
        )

    def _anchor(self, last: x509.Certificate) -> Anchor:
        if self._roots is None:
            return Anchor.UNASKED
        named = self._roots.get(last.issuer.public_bytes(), ())
        return Anchor.KNOWN if any(is_issued_by(last, root) for root in named) else Anchor.UNKNOWN

    def _listed(self, *digests: bytes) -> str:
        found = (words for digest in digests for ask in self._blocklists if (words := ask(digest)))
        return next(found, "")


NOTHING: Final = Reference(None)
"""Nothing is looked up anywhere."""


def _read_roots(path: Path) -> list[x509.Certificate]:
    """Read all that can be read: old lists hold certificates that today's libraries refuse."""
    if path.exists() and not path.is_file():
        raise OSError(None, "it is no file")  # a pipe would hold us up for ever
    with path.open("rb") as file:
        content = file.read(_LARGEST_ROOTS)
    roots: list[x509.Certificate] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # serial numbers below 1
        for pem in _PEM.findall(content):
            with suppress(ValueError):
                root = x509.load_pem_x509_certificate(pem)
                _ = root.subject  # parsed on first use, and that is here
                roots.append(root)
    return roots
