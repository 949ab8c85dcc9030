"""The catalogue: every code that a finding can have, with its severity, words and hint. The one place.

Promises: codes are stable, in snake_case, of one severity for ever. Words and hints are templates for
`str.format` with the finding's facts; they are written for a customer who knows the device, not
certificates. docs/findings.md shows this table to people; a test holds the two together. Each subject's part
stands in a module of its own (intakecodes.py, checkcodes.py, ...); they are joined below.
Refuses to know: who finds what.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.acmecodes import ACME
from certstore.authoritycodes import AUTHORITY
from certstore.bancodes import BANS
from certstore.checkcodes import CHECKS
from certstore.companioncodes import COMPANIONS
from certstore.doctorcodes import DOCTOR
from certstore.entries import Entry, Severity
from certstore.factorycodes import FACTORY
from certstore.forecastcodes import FORECAST
from certstore.intakecodes import INTAKE
from certstore.issuercodes import ISSUERS
from certstore.lifecodes import LIFE
from certstore.proofcodes import PROOFS
from certstore.requestcodes import REQUESTED
from certstore.revocationcodes import REVOCATION
from certstore.trustcodes import TRUST
from certstore.unitcodes import UNIT

__all__ = ["CATALOGUE", "Entry", "Severity"]


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    # --- files: what stands in the way of reading them ---
    "file_empty": Entry(_E, "{file} is empty", "copy the file again; the copy may have been broken off"),
    "file_truncated": Entry(
        _E, "{file} ends in the middle of a certificate or key", "copy the whole file again"
    ),
    "file_too_large": Entry(
        _E,
        "{file} is larger than {limit} bytes",
        "a certificate with its chain has a few kilobytes: this may be another file",
    ),
    "file_unreadable": Entry(
        _E,
        "{file} can't be read: {why}",
        "let tlsproxy's user read it, or hand certificates in as a user who can: tlsproxy certs import",
    ),
    "file_missing": Entry(_E, "{file} doesn't exist", "check the name of the file"),
    "is_directory": Entry(_E, "{file} is a directory", "give the certificate and key files themselves"),
    "not_a_file": Entry(_E, "{file} is a pipe, socket or device", "put regular files here"),
    "symlink_loop": Entry(_E, "{file} is a symbolic link that leads back to itself", "mend the link"),
    "symlink_dangling": Entry(_E, "{file} is a symbolic link to nothing", "mend the link"),
    # --- directories: what stands in the way of watching them ---
    "path_missing": Entry(
        _W,
        "the watched directory {path} doesn't exist",
        "it is watched for; check the path if it should be there",
    ),
    "not_a_directory": Entry(_W, "{path} is not a directory", "give the directory that the files lie in"),
    "directory_unreadable": Entry(
        _W,
        "the directory {path} can't be read: {why}",
        "let tlsproxy's user read it, or hand certificates in as a user who can: tlsproxy certs import",
    ),
    "directory_too_full": Entry(
        _W,
        "only the first {limit} entries of {path} are looked at",
        "give certificates a directory of their own",
    ),
    "watch_limited": Entry(
        _W,
        "the system can't watch files ({why}); they are looked at every two seconds instead",
        "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches",
    ),
    "look_failed": Entry(
        _W,
        "the directory {path} can't be looked at just now: {why}",
        "it is tried again by itself; allow this service more threads (TasksMax=), or find what takes them",
    ),
    "quarantine_failed": Entry(
        _W,
        "refused files stay in {path}: {why}",
        "remove them by hand, and let tlsproxy's user write to that directory",
    ),
    # --- decode: what is in the files ---
    "candidate_empty": Entry(_E, "there is no file to read", "give a certificate and its private key"),
    "unparsable": Entry(
        _E,
        "{file} holds neither a certificate nor a private key in a form that we know",
        "export it as PEM (text with BEGIN CERTIFICATE or BEGIN PRIVATE KEY lines), DER or PKCS #12 (.p12,"
        " .pfx)",
    ),
    "certificate_unparsable": Entry(
        _E, "a certificate in {file} is damaged: {why}", "export or copy the certificate again"
    ),
    "key_unparsable": Entry(_E, "a private key in {file} is damaged: {why}", "export or copy the key again"),
    "too_many_certificates": Entry(
        _E,
        "there are more than {limit} certificates in these files",
        "give only the device's certificate and its intermediates, not a list of trusted roots",
    ),
    "too_many_keys": Entry(
        _E, "there are more than {limit} private keys in these files", "give only the certificate's own key"
    ),
    "request_ignored": Entry(
        _N,
        "{file} holds a certificate request (CSR), which is not a certificate",
        "give the certificate that the authority made from the request",
    ),
    # --- assemble: what belongs together ---
    "nothing_usable": Entry(
        _E,
        "there is neither a certificate nor a private key in these files",
        "give a certificate and its private key",
    ),
    "key_without_certificate": Entry(
        _E, "there is a private key but no certificate", "add the certificate that was issued for this key"
    ),
    "certificate_without_key": Entry(
        _E,
        "there is a certificate for {subject} but not its private key",
        "add the private key that the certificate was requested with",
    ),
    "chain_only": Entry(
        _E,
        "there are only certificates of authorities, none of a device",
        "add the device's own certificate (often named cert.pem or fullchain.pem)",
    ),
    "key_mismatch": Entry(
        _E,
        "the private key is not the one of this certificate: the certificate for {subject} belongs to a key"
        " {wanted}, the key given is {given}",
        "find the key that the certificate was requested with, or request a new certificate with this key",
    ),
    "several_leaves": Entry(
        _E,
        "there are several device certificates that match: {subjects}",
        "give one certificate with its key at a time",
    ),
    "key_kept": Entry(
        _W,
        "the private key that came along is not this certificate's; the right one, already here, is used",
        "look which certificate that key belongs to, and keep it from strangers",
    ),
    "key_unused": Entry(
        _N, "private keys that came along and were not used: {count}", "remove keys that are no longer needed"
    ),
    "leaf_unused": Entry(
        _N,
        "the certificate for {subject} was there and not used: its key is not",
        "remove certificates that are no longer needed",
    ),
    "stranger_dropped": Entry(
        _N, "the certificate {subject} is not part of the chain and was left out", "nothing to do"
    ),
}

_PARTS: Final = (
    _TABLE,
    INTAKE,
    CHECKS,
    COMPANIONS,
    LIFE,
    BANS,
    FACTORY,
    REQUESTED,
    AUTHORITY,
    UNIT,
    FORECAST,
    DOCTOR,
    ISSUERS,
    ACME,
    PROOFS,
    TRUST,
    REVOCATION,
)
CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType(
    {code: entry for part in _PARTS for code, entry in part.items()}
)
