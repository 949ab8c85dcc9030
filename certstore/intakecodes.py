"""The part of the catalogue that tells of what files are: containers, archives, pass phrases, foreign things.

What is told of certificates stands in catalogue.py, which puts all parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["INTAKE"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    # --- intake: containers, archives, pass phrases ---
    "passphrase_needed": Entry(
        _E,
        "{file} is protected by a passphrase",
        "hand it in with its passphrase: tlsproxy certs import --passphrase-file PASSPHRASE-FILE FILE",
    ),
    "passphrase_wrong": Entry(
        _E,
        "the passphrase doesn't open {file}",
        "check the passphrase, and that it is the one of this file",
    ),
    "passphrase_too_costly": Entry(
        _E,
        "to try a passphrase on {file} takes {rounds} rounds; at most {limit} are made",
        "export it again with a usual number of rounds: openssl pkcs12 -export -iter 100000",
    ),
    "protection_unknown": Entry(
        _E,
        "{file} is protected by a method that is not known here ({method})",
        "export it again, protected with AES-256, or as a PEM file without a passphrase",
    ),
    "container_damaged": Entry(
        _E, "{file} is a damaged {kind} file: {why}", "copy the file again, or export it again"
    ),
    "container_unsupported": Entry(_E, "{file} is {kind}, which is not read here", "convert it: {command}"),
    "content_foreign": Entry(_E, "{file} is {kind}: neither a certificate nor a private key", "{advice}"),
    "content_ignored": Entry(
        _N,
        "{file} holds {kind}, which is neither a certificate nor a private key",
        "give the device's certificate and its private key",
    ),
    "too_many_blocks": Entry(
        _E,
        "{file} has more than {limit} parts",
        "give only the device's certificate, its intermediates and its key",
    ),
    "archive_damaged": Entry(
        _E, "the archive {file} can't be unpacked: {why}", "copy the file again, or pack it again"
    ),
    "archive_encrypted": Entry(
        _E,
        "the archive {file} is protected by a password",
        "unpack it, and hand in the certificate and key files themselves",
    ),
    "archive_too_large": Entry(
        _E,
        "the archive {file} holds more than {limit}",
        "hand in the certificate and key files themselves",
    ),
    "archive_nested": Entry(
        _E,
        "{file} is an archive inside of an archive",
        "unpack the outer one, and hand in what is inside",
    ),
    "issuer_mismatch": Entry(
        _W,
        "the certificate of {issuer} that came along did not sign {subject}: it has the right name"
        " but another key",
        "get the current chain from the authority: it has made itself a new key since",
    ),
    "member_ignored": Entry(
        _N,
        "{file} is neither a certificate nor a private key and was left out",
        "nothing to do, if the certificate and its key are there",
    ),
}

INTAKE: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
