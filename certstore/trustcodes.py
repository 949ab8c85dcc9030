"""The part of the catalogue that tells of trust sets: authorities of clients, and revocation lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["TRUST"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_RENEW_CRL = (
    "fetch the newest list of this authority and hand it in: tlsproxy trust import FILE --name {name}"
)

_TABLE: Final[dict[str, Entry]] = {
    "trust_empty": Entry(
        _E,
        "there is neither an authority's certificate nor a revocation list",
        "give the certificate of the authority that issues the clients' certificates, in PEM or DER",
    ),
    "trust_no_anchor": Entry(
        _E,
        "the set {name} has no authority: a revocation list alone lets nobody in",
        "give the authority's certificate too",
    ),
    "trust_too_large": Entry(
        _E,
        "there are {count} {what}, more than {most}",
        "make sets of their own: each rule of the configuration names one",
    ),
    "trust_in_use": Entry(
        _E,
        "the set {name} is what clients of {rule} are let in by: without it nobody gets in there",
        "first take [[client_auth]] out of the configuration, and reload",
    ),
    "trust_unchanged": Entry(_N, "this is what the set {name} holds already", "nothing to do"),
    "trust_removed": Entry(_N, "the set {name} is gone: it lets nobody in any more", "nothing to do"),
    "trust_damaged": Entry(
        _W,
        "the set {name} can't be read: {why}; clients that have to show a certificate are refused",
        "hand its files in again: tlsproxy trust import FILE --name {name}",
    ),
    "trust_missing": Entry(
        _W,
        "no authority is known for the set {name}: clients that show a certificate, or have to, are refused",
        "hand it in: tlsproxy trust import FILE --name {name}",
    ),
    "trust_forgotten": Entry(
        _W,
        "a file of the store is damaged, and what the set {name} held last can't be told any more:"
        " clients that show a certificate, or have to, are refused",
        "hand its files in again, the newest lists too: tlsproxy trust import FILES --name {name}",
    ),
    "trust_key_ignored": Entry(
        _W,
        "a private key came along, and was not kept: to let clients in takes certificates only",
        "keep the authority's key away from devices",
    ),
    "anchor_not_ca": Entry(
        _E,
        "{subject} is no authority: it may not sign certificates",
        "give the certificate of the authority, not of a client",
    ),
    "anchor_weak": Entry(
        _E, "the authority {subject} has a weak key: {key}", "use an authority with a stronger key"
    ),
    "anchor_not_for_clients": Entry(
        _E,
        "the authority {subject} may not issue certificates for clients",
        "take an authority without limits of use, or with the use clientAuth",
    ),
    "anchor_unsupported": Entry(
        _E,
        "the authority {subject} can't be understood, so its clients would be refused: {why}",
        "use an authority without it",
    ),
    "anchor_revoked": Entry(
        _W,
        "the authority {subject} of the set {name} is revoked by {issuer}: its clients are refused",
        "hand in the set's other authorities, and its successor: tlsproxy trust import FILES --name {name}",
    ),
    "anchor_expired": Entry(
        _E,
        "the authority {subject} has expired, at {not_after}",
        "give its successor; clients of the old one would be refused",
    ),
    "anchor_not_yet_valid": Entry(
        _E, "the authority {subject} isn't valid before {not_before}", "wait, or set the device's clock"
    ),
    "anchor_expiring": Entry(
        _W,
        "the authority {subject} of the set {name} ends at {not_after}: its clients are refused from then on",
        "hand in its successor beside it, in time: tlsproxy trust import OLD NEW --name {name}",
    ),
    "anchor_ended": Entry(
        _E,
        "the authority {subject} of the set {name} has ended, at {not_after}: its clients are refused",
        "hand in its successor: tlsproxy trust import FILE --name {name}",
    ),
    "crl_issuer_unknown": Entry(
        _E,
        "the revocation list of {issuer} belongs to no authority of the set {name}",
        "give the authority's certificate with it",
    ),
    "crl_signature": Entry(
        _E, "the revocation list of {issuer} isn't signed by that authority", "fetch the list again"
    ),
    "crl_unsupported": Entry(
        _E,
        "the revocation list of {issuer} is partial or of a kind that isn't understood: {why}",
        "give the authority's complete list",
    ),
    "crl_not_yet_valid": Entry(
        _E, "the revocation list of {issuer} isn't valid before {this_update}", "set the device's clock"
    ),
    "crl_outdated": Entry(
        _E,
        "the revocation list of {issuer} has ended, at {next_update}: with it every client would be refused",
        "give the authority's newest list",
    ),
    "crl_older": Entry(
        _E,
        "the revocation list of {issuer} is older than the one that is here ({this_update})",
        "give the authority's newest list",
    ),
    "crl_without_end": Entry(
        _W,
        "the revocation list of {issuer} doesn't say when the next one comes: it counts until it is replaced",
        "see to it that a newer one is handed in from time to time",
    ),
    "crl_not_for_all": Entry(
        _W,
        "{subject} has no revocation list, others of the set {name} have: its clients are refused",
        "give its list too, or put it into a set of its own",
    ),
    "crl_heavy": Entry(
        _W,
        "the lists of the set {name} have {size}, which takes {memory} of memory in each worker; with the TLS"
        " engine system that again for each certificate whose clients are asked by it",
        'see that there is so much, use tls.engine = "bundled", which shares it, or ask by one certificate',
    ),
    "crl_left_out": Entry(_N, "the revocation list of {issuer} went with its authority", "nothing to do"),
    "crl_expiring": Entry(
        _W,
        "the revocation list of {issuer} ends at {next_update}: without a newer one all are refused then",
        _RENEW_CRL,
    ),
    "crl_ended": Entry(
        _E,
        "the revocation list of {issuer} has ended, at {next_update}: clients of this authority are refused",
        _RENEW_CRL,
    ),
}

TRUST: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
