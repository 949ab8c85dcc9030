"""Which kinds of ACME's proofs can work, told of what was seen: one sentence a test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certstore import Challenge, found
from certstore.issuers.acme.messages import Directory
from tlsproxy.acmeoutlook import Authority, Door, Outlook, Permission, Place, Plan, View, judge

HTTP, TLS, DNS, PERSIST = Challenge
ALL = (HTTP, TLS, DNS)
OURS, OURS_6, OTHER = "198.41.0.4", "2606:4700::7", "199.7.91.13"
DOORS = (Door("tls", "::", 443), Door("http", "::", 80))
PLACE = Place(DOORS, frozenset({OURS, OURS_6}))
URL = "https://ca.test/x"
DIRECTORY = Directory(URL, URL, URL, caa_identities=("CA.test",))
PUBLIC = Authority("https://ca.test/dir", "ca.test", DIRECTORY, is_public=True)
SITES = replace(PUBLIC, is_public=False)
NAME = "device.example"
SEEN = View(addresses={NAME: (OURS, OURS_6)}, authority=PUBLIC)


def told(outlook: Outlook, kind: Challenge) -> tuple[str, list[str]]:
    one = next(one for one in outlook.prospects if one.challenge is kind)
    return one.works, [finding.code for finding in one.findings]


def outlook(names=(NAME,), kinds=ALL, place=PLACE, view=SEEN, **more) -> Outlook:
    return judge(Plan(names, kinds, **more), place, view)


def test_a_device_that_is_reached_by_its_name_can_prove_it_by_both():
    seen = outlook()
    assert told(seen, HTTP) == told(seen, TLS) == ("yes", [])
    assert told(seen, DNS) == ("no", ["acme_records_unset"])
    assert seen.works
    assert told(outlook(has_records=True), DNS) == ("yes", [])


def test_who_listens_not_at_all_or_elsewhere_is_told_so():
    none = outlook(place=replace(PLACE, doors=(Door("tls", "127.0.0.1", 8443),)))
    assert told(none, HTTP) == ("no", ["acme_listener_missing"])
    works, codes = told(none, TLS)
    assert (works, codes) == ("perhaps", ["acme_port_forwarded", "acme_address_unserved"])
    forwarded = outlook(place=replace(PLACE, doors=(Door("tls", "::", 8443), Door("http", "::", 8080))))
    assert told(forwarded, HTTP) == told(forwarded, TLS) == ("yes", ["acme_port_forwarded"])
    assert not outlook(kinds=(HTTP,), place=replace(PLACE, doors=())).works


@pytest.mark.parametrize(
    ("addresses", "works", "codes"),
    [
        ((), "perhaps", ["acme_name_unresolved"]),
        ("SERVFAIL", "perhaps", ["acme_name_unseen"]),
        ((OTHER,), "perhaps", ["acme_name_elsewhere"]),
        ((OURS, OTHER), "perhaps", ["acme_name_elsewhere"]),
        (("10.0.0.7",), "perhaps", ["acme_name_private", "acme_name_elsewhere"]),
        (("100.64.0.7",), "perhaps", ["acme_name_private", "acme_name_elsewhere"]),
        (("fd00::7",), "perhaps", ["acme_name_private", "acme_name_elsewhere"]),
        (("127.0.0.1",), "perhaps", ["acme_name_private"]),
        ((OURS,), "yes", []),
    ],
)
def test_where_a_name_leads_decides_for_an_authority_on_the_internet(addresses, works, codes):
    assert told(outlook(view=replace(SEEN, addresses={NAME: addresses})), HTTP) == (works, codes)


def test_a_private_address_is_well_for_an_authority_of_the_site():
    place = replace(PLACE, addresses=frozenset({"10.0.0.7"}))
    view = View(addresses={NAME: ("10.0.0.7",)}, authority=SITES)
    assert told(outlook(place=place, view=view), HTTP) == ("yes", [])
    assert told(outlook(("10.0.0.7",), place=place, view=view), TLS) == ("yes", [])
    by_all = outlook(("10.0.0.7",), place=place, view=replace(view, authority=PUBLIC))
    assert told(by_all, TLS) == ("no", ["acme_address_private"])


def test_a_family_that_nobody_listens_to_is_told():
    place = replace(PLACE, doors=(Door("http", "0.0.0.0", 80), Door("tls", OURS, 443)))
    assert told(outlook(place=place), HTTP) == ("perhaps", ["acme_address_unserved"])
    assert OURS_6 in outlook(place=place).prospects[1].findings[0].words
    assert OURS not in outlook(place=place).prospects[1].findings[0].words


def test_wildcards_go_by_dns_alone_and_addresses_never():
    kinds = (*ALL, PERSIST)
    seen = outlook((f"*.{NAME}",), kinds, has_records=True)
    assert [told(seen, one)[0] for one in kinds] == ["no", "no", "yes", "perhaps"]
    seen = outlook((OURS,), kinds, has_records=True)
    assert [told(seen, one)[0] for one in kinds] == ["yes", "yes", "no", "no"]


def test_a_name_server_that_takes_no_update_is_told():
    seen = outlook(view=replace(SEEN, unset={NAME: "BADKEY"}), has_records=True)
    assert told(seen, DNS) == ("no", ["acme_records_unreachable"])


def test_where_an_alias_leads_is_told_for_a_command_that_follows_none():
    seen = outlook(view=replace(SEEN, aliases={NAME: "proofs.example"}), has_records=True)
    assert told(seen, DNS) == ("yes", ["acme_proof_alias"])
    assert "looks for the record at proofs.example" in seen.prospects[-1].findings[0].words


@pytest.mark.parametrize(
    ("name", "records", "allowed"),
    [
        (NAME, (), ALL),
        (NAME, (("issue", "ca.test"),), ALL),
        (NAME, (("issue", " CA.TEST ; x=y"), ("issue", "other.test")), ALL),
        (NAME, (("issue", "other.test"),), ()),
        (NAME, (("issue", ";"),), ()),
        (NAME, (("iodef", "mailto:a@b.test"),), ALL),
        (NAME, (("issuewild", ";"),), ALL),
        (NAME, (("issue", "ca.test; validationmethods=http-01, dns-01"),), (HTTP, DNS)),
        (f"*.{NAME}", (("issue", "ca.test"),), (DNS,)),
        (f"*.{NAME}", (("issue", "ca.test"), ("issuewild", ";")), ()),
        (f"*.{NAME}", (("issue", ";"), ("issuewild", "ca.test")), (DNS,)),
    ],
)
def test_whom_the_dns_allows_decides(name, records, allowed):
    permissions = {name: tuple(Permission(*one) for one in records)}
    seen = outlook((name,), view=replace(SEEN, permissions=permissions), has_records=True)
    assert tuple(one.challenge for one in seen.prospects if one.works == "yes") == allowed
    quiet = replace(PUBLIC, directory=replace(DIRECTORY, caa_identities=()))
    seen = outlook((name,), view=replace(SEEN, permissions=permissions, authority=quiet), has_records=True)
    assert not any("acme_caa_forbids" in told(seen, one)[1] for one in ALL), "it doesn't say who it is"


def test_what_the_authority_wants_is_told_and_what_hinders_all_hinders():
    wants = replace(DIRECTORY, binding_required=True, terms="https://ca.test/terms", profiles={"short": "x"})
    seen = outlook(view=replace(SEEN, authority=replace(PUBLIC, directory=wants)), profile="short")
    assert [one.code for one in seen.findings] == ["acme_binding_asked", "acme_terms_asked"]
    assert seen.works
    seen = outlook(profile="long")
    assert [one.code for one in seen.findings] == ["acme_profile_unknown"]
    assert not seen.works
    held = outlook(place=replace(PLACE, held="the device's clock can't be right"))
    assert (held.works, [one.code for one in held.findings]) == (False, ["acme_held"])
    lost = View(addresses=SEEN.addresses, trouble=found("acme_unreachable", host="ca.test", why="no route"))
    assert (outlook(view=lost).works, told(outlook(view=lost), HTTP)[0]) == (False, "yes")
