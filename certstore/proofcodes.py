"""The part of the catalogue that tells beforehand what would stand between a name and its proof by ACME."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certstore.entries import Entry, Severity

__all__ = ["PROOFS"]

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE: Final[dict[str, Entry]] = {
    # --- the device ---
    "acme_held": Entry(
        _E,
        "nothing is asked of an authority for now: {why}",
        "mend that first; what is wanted is asked for by itself then",
    ),
    "acme_listener_missing": Entry(
        _E,
        "{challenge} is looked for at port {port}, and this proxy has no listener of the kind {kind}",
        'add one to the configuration: [[listener]] with address = "[::]:{port}" and kind = "{kind}"',
    ),
    "acme_port_forwarded": Entry(
        _N,
        "{challenge} is looked for at port {port}; this proxy listens at {addresses}",
        "have what stands before the device pass connections to port {port} on to it",
    ),
    "acme_records_unset": Entry(
        _E,
        "nothing here may set the DNS records that {challenge} needs",
        "name a server that takes updates (--dns-server) or have acme.dns_hook, or prove the names otherwise",
    ),
    "acme_records_unreachable": Entry(
        _E,
        "the DNS records that {challenge} needs can't be set for {name}: {why}",
        "check the server's address and the zone; a firewall may keep port 53 over TCP closed",
    ),
    "acme_proof_alias": Entry(
        _N,
        "_acme-challenge.{name} is an alias: the authority looks for the record at {place}",
        "the command dns_hook is called for the alias, and has to set the record where that leads",
    ),
    # --- the authority ---
    "acme_terms_asked": Entry(
        _N, "the authority {host} has terms of service: {terms}", "read them, then enable with --agree-tos"
    ),
    "acme_binding_asked": Entry(
        _W,
        "the authority {host} makes accounts only for whom it knows already",
        "get a key id and a MAC key there, and enable with --eab-kid and --eab-key-file",
    ),
    "acme_persist_unsure": Entry(
        _W,
        "only an order tells whether the authority offers dns-persist-01",
        "the first try tells that, and the record to set",
    ),
    # --- names ---
    "acme_proof_unfit": Entry(
        _E,
        "{name} can't be proved by {challenge}",
        "wildcards are proved by dns-01 or dns-persist-01 alone, addresses by http-01 or tls-alpn-01 alone",
    ),
    "acme_address_private": Entry(
        _E,
        "{name} is an address that means something else at each site: {host} on the Internet can't reach it",
        "leave it out, or ask an authority of the site's own",
    ),
    "acme_name_private": Entry(
        _W,
        "{name} leads to {addresses}, seen from here; {host} on the Internet can't reach that",
        "well if the Internet's DNS gives another that leads here; else prove the name by dns-01",
    ),
    "acme_name_unresolved": Entry(
        _W,
        "the DNS has no address for {name}, seen from here",
        "well if the authority's own DNS has one that leads here; else set an A or AAAA record, or prove the"
        " name by dns-01",
    ),
    "acme_name_unseen": Entry(
        _W, "nobody could say to which address {name} leads: {why}", "check this device's DNS resolver"
    ),
    "acme_name_elsewhere": Entry(
        _W,
        "{name} leads to {addresses}, which this device hasn't",
        "well if a router, NAT or gateway passes connections on from there; else correct the DNS",
    ),
    "acme_address_unserved": Entry(
        _W,
        "{name} leads to {addresses}, where this proxy has no listener for {challenge}",
        "authorities ask by IPv6 first: listen there too ([::] takes both), or take the record away",
    ),
}

PROOFS: Final[Mapping[str, Entry]] = MappingProxyType(_TABLE)
