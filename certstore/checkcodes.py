"""The catalogue's part about certificates: what would keep clients away from one.

Severities follow one rule. An error is what cannot be read, cannot be served, or no client whatever accepts:
to refuse it harms nobody. All else is a warning, also where every browser refuses: programs may be all that a
device has for clients, its owner may know better, and whoever was wrong has the way back (probation,
`certs rollback`), which doesn't lead through a browser. docs/findings.md gives the reason for each error.
Refuses to know who finds what (checks.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["CHECKS"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    # --- dates ---
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
        _W,
        "the certificate is valid only from {not_before}; this device's clock says {now}",
        "check this device's clock; if it is right, clients refuse the certificate until then",
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
        _W,
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
        "the certificate demands a stapled OCSP answer: without one, some clients refuse it",
        "have answers fetched and stapled (revocation = true under [checks]), or have it issued without the"
        " must-staple (TLS feature) extension",
    ),
    # --- names: whether the device is reached by what the certificate is for ---
    "names_not_covered": Entry(
        _N,
        "this device is also reached as {names}, which the certificate does not cover",
        "have it issued with these names and addresses too, if clients use them",
    ),
    "no_name_covered": Entry(
        _W,
        "the certificate covers none of the names that this device is reached by: {names}",
        "check that it is meant for this device; it covers {covered}",
    ),
    # --- keys that others know ---
    "key_weak": Entry(
        _W,
        "the key ({key}) is weak: {why}",
        "make a new key with a current program, and have a certificate issued for it",
    ),
    "key_leaked": Entry(
        _W,
        "strangers have the private key of this certificate: it stands on a list ({where})",
        "make a new key on this device, and have the certificate revoked",
    ),
    "certificate_shared": Entry(
        _W,
        "this very certificate is on many devices: it stands on a list ({where})",
        "use a certificate of this device alone, with a key of its own",
    ),
    "key_known_elsewhere": Entry(
        _N,
        "the key is also that of a certificate for {names}, which is here",
        "a key of its own for each certificate keeps a leak small",
    ),
    "list_unread": Entry(
        _N,
        "a list that certificates are to be looked up in can't be read: {why}",
        "mend the file, or take it out of [checks] in the configuration",
    ),
    # --- authorities ---
    "unknown_root": Entry(
        _N,
        "{issuer}, which stands behind the certificate, is not among the authorities that clients know by"
        " themselves",
        "see that the clients have its root certificate; machines of a company often do",
    ),
    "name_constraint_violated": Entry(
        _W,
        "the authority {authority} is not allowed to issue for {name}: clients refuse the certificate",
        "have it issued for other names, or by another authority",
    ),
    "path_too_long": Entry(
        _W,
        "the authority {authority} may have {allowed} authorities below it and has {count}: clients refuse"
        " the certificate",
        "get the right chain from the authority",
    ),
    # --- certificates of public authorities ---
    "public_lifetime_too_long": Entry(
        _W,
        "the certificate is valid for {days} days; browsers refuse more than {most} from public authorities",
        "have it issued again",
    ),
    "next_lifetime_shorter": Entry(
        _N,
        "the certificate is valid for {days} days; the next one, due by {when}, may be for {most} days only",
        "let certificates be renewed by a program: by hand it becomes a burden",
    ),
    "no_timestamps": Entry(
        _W,
        "the certificate of a public authority has no proof that logs know it (SCT): Chrome, Edge and Safari"
        " refuse it",
        "have it issued again, with signed certificate timestamps inside",
    ),
}

CHECKS: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
