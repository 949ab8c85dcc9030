"""The catalogue: every code that a finding can have, with its severity, words and hint. The one place.

Promises: codes are stable, in snake_case, of one severity for ever. Words and hints are templates for
`str.format` with the finding's facts; they are written for a customer who knows the device, not
certificates. docs/findings.md shows this table to people; a test holds the two together. What is told of
changes and of the store stands in lifecodes.py, of banned keys in bancodes.py, of requests in
requestcodes.py, of the device's own authority in authoritycodes.py, of this unit in unitcodes.py.
Refuses to know: who finds what.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.authoritycodes import AUTHORITY
from certstore.bancodes import BANS
from certstore.entries import Entry, Severity
from certstore.lifecodes import LIFE
from certstore.requestcodes import REQUESTED
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
        "export it as PEM (text with BEGIN CERTIFICATE or BEGIN PRIVATE KEY lines) or DER",
    ),
    "certificate_unparsable": Entry(
        _E, "a certificate in {file} is damaged: {why}", "export or copy the certificate again"
    ),
    "key_unparsable": Entry(_E, "a private key in {file} is damaged: {why}", "export or copy the key again"),
    "key_encrypted": Entry(
        _E,
        "the private key in {file} is protected by a pass phrase",
        "take the pass phrase off: openssl pkey -in KEY -out PLAIN-KEY",
    ),
    "container_unsupported": Entry(
        _E,
        "{file} is a {kind} container, which can't be read yet",
        "convert it to PEM: {command}",
    ),
    "trusted_certificate": Entry(
        _E,
        "{file} holds OpenSSL's own TRUSTED CERTIFICATE form",
        "convert it: openssl x509 -in FILE -out CERT.pem",
    ),
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
    # --- checks: what would keep clients away ---
    "expired": Entry(
        _E,
        "the certificate expired on {not_after}; this device's clock says {now}",
        "renew it, or mend this device's clock",
    ),
    "expired_doubtful": Entry(
        _W,
        "the certificate expired on {not_after} by this device's clock, which is plainly wrong ({now})",
        "mend this device's clock; the dates are checked again then",
    ),
    "not_yet_valid": Entry(
        _E,
        "the certificate is valid only from {not_before}; this device's clock says {now}",
        "check this device's clock, or import the certificate when its time has come",
    ),
    "not_yet_valid_doubtful": Entry(
        _W,
        "the certificate is valid from {not_before}; this device's clock, plainly wrong, says {now}",
        "mend this device's clock; the dates are checked again then",
    ),
    "dates_reversed": Entry(
        _E, "the certificate ends ({not_after}) before it starts ({not_before})", "have it issued again"
    ),
    "certificate_malformed": Entry(
        _E, "the certificate's {part} can't be read, and clients refuse it: {why}", "have it issued again"
    ),
    "ca_as_leaf": Entry(
        _E,
        "this is the certificate of an authority (CA:TRUE), not of a device",
        "give the certificate that was issued for the device; make self-signed ones with: openssl req -x509"
        " -addext basicConstraints=critical,CA:FALSE",
    ),
    "not_for_servers": Entry(
        _E,
        "the certificate is not made for TLS servers (its extended key usage is {usages})",
        "have it issued with the extended key usage serverAuth",
    ),
    "no_digital_signature": Entry(
        _W,
        "the certificate's key usage leaves out digitalSignature, which every modern handshake needs",
        "have it issued with the key usage digitalSignature; strict clients refuse this one",
    ),
    "key_too_small": Entry(
        _E,
        "the key ({key}) is too weak: it can be broken, or clients refuse it",
        "use a P-256 key, or RSA with 2048 bits or more",
    ),
    "key_too_large": Entry(
        _W,
        "the key ({key}) makes every handshake slow",
        "use a P-256 key, or RSA with 2048 to 4096 bits",
    ),
    "key_far_too_large": Entry(
        _E,
        "clients refuse a key of this size ({key}), and each handshake with it would hold up all others",
        "use a P-256 key, or RSA with 2048 to 4096 bits",
    ),
    "key_type_unsupported": Entry(
        _E,
        "a key of this kind ({key}) can't be used for TLS",
        "use a P-256 or P-384 key, or RSA with 2048 bits or more",
    ),
    "key_refused_by_browsers": Entry(
        _E,
        "browsers refuse a certificate with this kind of key ({key})",
        "use a P-256 or P-384 key, or RSA with 2048 bits or more",
    ),
    "key_refused_by_chromium": Entry(
        _W,
        "the browsers Chrome and Edge refuse a certificate with this kind of key ({key})",
        "use a P-256 or P-384 key, or RSA with 2048 bits or more",
    ),
    "no_alternative_names": Entry(
        _W,
        "the certificate names no host in its subject alternative names; browsers refuse it",
        "have it issued with the device's names and addresses as subject alternative names",
    ),
    "name_ignored": Entry(
        _W,
        "the certificate names {name!r}, which no client can ask for",
        "have it issued with correct host names or addresses",
    ),
    "weak_signature": Entry(
        _W,
        "{certificate} is signed with {algorithm}, which clients no longer trust",
        "have it issued with SHA-256 or better",
    ),
    "lifetime_too_long": Entry(
        _W,
        "the certificate is valid for {days} days; Apple devices refuse more than 825",
        "have it issued for at most 825 days",
    ),
    "incomplete_chain": Entry(
        _W,
        "the certificate of the issuer ({issuer}) is missing, unless that is a root that clients know",
        "add the authority's intermediate certificates (often named chain.pem or fullchain.pem)",
    ),
    "issuer_expired": Entry(
        _W,
        "the intermediate certificate {subject} expired on {not_after}",
        "get the current chain from the authority",
    ),
    "self_signed": Entry(
        _N,
        "the certificate is self-signed: clients warn until they are told to trust it",
        "compare the fingerprint on first contact, or use a certificate of an authority that clients trust",
    ),
    "must_staple": Entry(
        _W,
        "the certificate demands a stapled OCSP answer, which is not sent: some clients refuse it",
        "have it issued without the must-staple (TLS feature) extension",
    ),
}

CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType(
    {**_TABLE, **LIFE, **BANS, **REQUESTED, **AUTHORITY, **UNIT}
)
