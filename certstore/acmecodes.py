"""The part of the catalogue that tells what stands between us and a certificate of an ACME authority."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["ACME"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_LATER: Final = "it is tried again by itself; what is served stays"

_TABLE: Final[dict[str, Entry]] = {
    # --- the way to the authority ---
    "acme_directory_unusable": Entry(
        _E, "{url} can't be an authority's address: {why}", "give the URL of its directory, with https://"
    ),
    "acme_roots_unusable": Entry(
        _E,
        "the file of trusted roots for the authority can't be used: {why}",
        "give the authority's root certificate as PEM",
    ),
    "acme_unreachable": Entry(
        _E,
        "the authority {host} can't be reached: {why}",
        "check the URL, the network, its DNS and the HTTP proxy, where there is one",
    ),
    "acme_untrusted": Entry(
        _E,
        "the authority {host} shows a certificate that isn't trusted here: {why}",
        "give its root (--ca-file PEM), the right one where one is given; check the device's clock",
    ),
    "acme_answer_strange": Entry(
        _E,
        "the authority {host} gives an answer that can't be used: {why}",
        "check that no proxy answers in its place, and ask the authority's operator",
    ),
    "acme_directory_missing": Entry(
        _E,
        "there is no ACME directory at {url}: {why}",
        "check the whole URL; common ones are https://CA/acme/acme/directory (step-ca),"
        " https://CA/v1/pki/acme/directory (Vault), https://CA/ejbca/acme/directory (EJBCA) and"
        " https://acme-v02.api.letsencrypt.org/directory; or a proxy answers in its place",
    ),
    "acme_server_failed": Entry(_E, "the authority {host} has a fault of its own: {why}", _LATER),
    "acme_rate_limited": Entry(
        _E,
        "the authority {host} takes no more of this for now: {why}",
        "it is tried again when the authority allows it; ask for fewer names or certificates",
    ),
    # --- the account ---
    "acme_account_unknown": Entry(
        _E,
        "the authority {host} doesn't know the account of this device: {why}",
        "enable it again, so that a new account is made: tlsproxy acme enable",
    ),
    "acme_account_ended": Entry(
        _E, "the account at {host} is {status}", "enable it again with a new account, or ask the authority"
    ),
    "acme_account_damaged": Entry(
        _W,
        "a record of an account or order at an authority can't be read: {why}",
        "check the device's disk; enable ACME again if it doesn't renew by itself",
    ),
    "acme_binding_needed": Entry(
        _E,
        "the authority {host} takes only accounts that it knows already",
        "get a key id and a MAC key from the authority, and give them with --eab-kid and --eab-key-file",
    ),
    "acme_binding_refused": Entry(
        _E,
        "the authority {host} refuses the key id or MAC key that were given: {why}",
        "check both, and whether they were used already: most can be used once",
    ),
    "acme_terms_unagreed": Entry(
        _E,
        "the authority {host} wants its terms agreed to: {terms}",
        "read them, then enable with --agree-tos",
    ),
    "acme_contact_refused": Entry(
        _E, "the authority {host} refuses the contact address: {why}", "give another e-mail address, or none"
    ),
    # --- what is asked for ---
    "acme_names_refused": Entry(
        _E,
        "the authority {host} issues no certificate for {names}: {why}",
        "leave out that name, or ask another authority",
    ),
    "acme_caa_forbids": Entry(
        _E,
        "the DNS forbids {host} to issue for {names}: {why}",
        "have the domain's CAA record allow this authority",
    ),
    "acme_profile_unknown": Entry(
        _E,
        "the authority {host} has no profile {profile}; it has: {profiles}",
        "choose one of those, or none",
    ),
    "acme_key_refused": Entry(
        _E, "the authority {host} refuses the key or the request: {why}", "choose another type of key"
    ),
    "acme_refused": Entry(
        _E, "the authority {host} refuses: {why}", "do what it says, or ask the authority's operator"
    ),
    # --- proof ---
    "acme_challenge_missing": Entry(
        _E,
        "the authority {host} offers no way to prove {name} that is set up here; it offers: {offered}",
        "set up one of those: tlsproxy acme enable --challenge KIND",
    ),
    "acme_challenge_unanswered": Entry(
        _E, "the proof for {name} by {challenge} can't be given here: {why}", _LATER
    ),
    "acme_challenge_failed": Entry(
        _E,
        "the authority {host} couldn't see the proof for {name} by {challenge}: {why}",
        "it must reach this device by that name: at port 80 for http-01, at port 443 for tls-alpn-01",
    ),
    # --- the order ---
    "acme_order_failed": Entry(_E, "the authority {host} gave up the order for {names}: {why}", _LATER),
    "acme_order_stuck": Entry(
        _E,
        "the authority {host} came to no end with the order for {names}; it stands at {status}",
        "it is tried again by itself; ask the authority's operator if that goes on",
    ),
    "acme_certificate_refused": Entry(
        _E,
        "the certificate that the ACME authority gave can't be used here: {why}",
        "what was served is served on; see the latest receipt, and ask the authority's operator",
    ),
    "acme_renewal_failing": Entry(
        _W,
        "no certificate came from the ACME authority in {failures} tries in a row: {why}",
        "it is tried again by itself; see: tlsproxy acme status",
    ),
    "acme_half_lacking": Entry(
        _W,
        "of the EC and RSA certificates that are wanted of the ACME authority the {kind} one hasn't come in"
        " {failures} tries in a row, while the other has: {why}",
        "it is tried again by itself; where the authority never gives it, enable without --beside",
    ),
    "acme_names_left": Entry(
        _W,
        "{names} isn't wanted of the ACME authority any more: what it gave is served until {until}, and not"
        " renewed",
        "name it beside the others (tlsproxy acme enable), or take it away: tlsproxy certs remove {which}",
    ),
    "acme_configuration_unusable": Entry(
        _W,
        "the ACME certificate that the configuration wants can't be asked for: {why}",
        "correct what stands below [acme], and reload; a person may enable another: tlsproxy acme enable",
    ),
    "acme_account_foreign": Entry(
        _W,
        "the ACME account came with a copied store, and was removed: another unit has its key",
        "enrol this unit: tlsproxy acme enable; the certificate that came along stays until its end",
    ),
    "acme_certificate_foreign": Entry(
        _E,
        "the authority {host} gave a certificate that isn't the one asked for: {why}",
        "tell the authority's operator; nothing has changed here",
    ),
}

ACME: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
